/** Who asks, and in which chat: what the headers and the key add to the body of a request. */
import { taskOf } from '#chat/tasks.ts'
import { allows, type Principal } from '#gateway/keys.ts'
import type { Limits, Ticket } from '#gateway/limits.ts'
import { readHeaders } from '#openwebui/headers.ts'
import { messageText, type Ask, type Person } from '#prompt/ask.ts'

import { setLimitHeaders } from '../limit-headers.ts'
import type { Caller } from './door.ts'
import { forwardedPerson, type ForwardParts } from './forwarded-person.ts'

export interface AskingParts extends ForwardParts {
  limits: Pick<Limits, 'admit'>
  /** The lasting one: limits go on when those of the records are rotated. */
  pseudonym: (kind: 'person', id: string) => string
}

export type SaidInBody = Omit<
  Ask,
  | 'requestId'
  | 'surface'
  | 'keyId'
  | 'mayUseBaseModels'
  | 'mayAsk'
  | 'conversation'
  | 'person'
  | 'subUser'
  | 'task'
> & {
  /** Of those behind the key, as its holder names them. */
  user?: string
}

/** Throws AppError `unauthenticated` when Open WebUI names a user and does not prove it. */
export async function completeAsk(
  { user, ...said }: SaidInBody,
  caller: Caller,
  on: AskingParts,
): Promise<Ask> {
  const { incoming, requestId, principal, logged } = caller
  const { cast } = principal
  const headers = readHeaders(incoming.headers)
  const trusted = principal.scopes.includes('forward-user')
  const person = trusted ? withGroups(await forwardedPerson(headers, caller, on), headers.groups) : undefined
  const conversation = trusted ? headers.conversation : {}
  const task = taskOf({
    header: trusted ? headers.task : undefined,
    model: said.model,
    stream: said.stream,
    messageId: conversation.messageId,
    messages: said.messages,
  })
  logged['task'] = task ?? null
  caller.admitted()
  const ask: Ask = {
    requestId,
    surface: trusted ? 'open-webui' : 'api',
    keyId: principal.keyId,
    mayUseBaseModels: principal.scopes.includes('base-models'),
    conversation,
    trail: caller,
    ...said,
  }
  if (cast !== undefined) ask.mayAsk = (character) => allows(cast, character)
  if (person !== undefined) ask.person = person
  const subUser = subUserOf(principal, user)
  if (subUser !== undefined) ask.subUser = subUser
  if (task !== undefined) ask.task = task
  return ask
}

/** Whoever of those behind a key asks, as its holder names them. Open WebUI proves its people. */
export const subUserOf = ({ keyId, scopes }: Principal, user: string | undefined): string | undefined =>
  user === undefined || scopes.includes('forward-user') ? undefined : `${keyId}:${user}`

/**
 * Asks the limits for the call, while the prompt is being made. The headers are set when they have answered, which is before
 * the first byte. Several answers to one question are one turn, and as many times its tokens. Whoever gets the ticket has to end it.
 */
export function admit(ask: Ask, { outgoing, principal }: Caller, on: AskingParts, answers = 1): Ticket {
  const ticket = on.limits.admit({
    requestId: ask.requestId,
    kind: ask.task === undefined ? 'turn' : 'task',
    keyId: principal.keyId,
    person: ask.person && on.pseudonym('person', ask.person.id),
    keyLimits: principal.limits,
    tokens: estimateCall(ask) * answers,
  })
  ticket.admitted.then(
    (allowance) => {
      if (allowance !== undefined) setLimitHeaders(outgoing, allowance)
    },
    // Told to whoever awaits it.
    () => undefined,
  )
  return ticket
}

/** Of an answer that nobody bounded. */
const USUAL_ANSWER_TOKENS = 500
const CHARACTERS_PER_TOKEN = 4

/** Roughly, and without the persona: it is put right when the answer has ended. */
function estimateCall({ messages, sampling, prompt }: Ask): number {
  const said = messages.reduce((sum, message) => sum + messageText(message).length, prompt?.text.length ?? 0)
  return Math.ceil(said / CHARACTERS_PER_TOKEN) + (sampling.maxTokens ?? USUAL_ANSWER_TOKENS)
}

const withGroups = (person: Person | undefined, groups: Person['groups']): Person | undefined =>
  person === undefined || groups === undefined ? person : { groups, ...person }
