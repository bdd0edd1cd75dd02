/** Who asks, and in which chat: what the headers and the key add to the body of a request. */
import { AppError } from '#base/errors.ts'
import { taskOf } from '#chat/tasks.ts'
import { readHeaders, verifyUserToken } from '#openwebui/headers.ts'
import type { Ask, Person } from '#prompt/ask.ts'

import type { Caller } from './door.ts'

export interface AskingParts {
  /** Secrets that may have signed Open WebUI's user token; empty when none is configured. */
  jwtSecrets: readonly string[]
  now: () => number
}

export type SaidInBody = Omit<
  Ask,
  'requestId' | 'surface' | 'keyId' | 'mayUseBaseModels' | 'conversation' | 'person' | 'task'
>

/** Throws AppError `unauthenticated` when Open WebUI names a user and does not prove it. */
export async function completeAsk(said: SaidInBody, caller: Caller, on: AskingParts): Promise<Ask> {
  const { incoming, requestId, principal, logged } = caller
  const headers = readHeaders(incoming.headers)
  const trusted = principal.scopes.includes('forward-user')
  const person = trusted ? await forwardedPerson(headers, on) : undefined
  const conversation = trusted ? headers.conversation : {}
  const task = taskOf({
    header: trusted ? headers.task : undefined,
    model: said.model,
    stream: said.stream,
    messageId: conversation.messageId,
    messages: said.messages,
  })
  logged['model'] = said.model
  logged['task'] = task ?? null
  return {
    ...said,
    requestId,
    surface: trusted ? 'open-webui' : 'api',
    keyId: principal.keyId,
    mayUseBaseModels: principal.scopes.includes('base-models'),
    conversation,
    ...(person === undefined ? {} : { person }),
    ...(task === undefined ? {} : { task }),
  }
}

/** Open WebUI vouches for its user by a signed token; plain headers can be written by anybody and are refused. */
async function forwardedPerson(
  headers: ReturnType<typeof readHeaders>,
  on: AskingParts,
): Promise<Person | undefined> {
  if (headers.duplicated) throw new AppError('invalid', 'An Open WebUI header was sent twice')
  if (on.jwtSecrets.length === 0 && !headers.plainUser) return undefined
  if (headers.userJwt === undefined || on.jwtSecrets.length === 0) {
    throw new AppError(
      'unauthenticated',
      "The user is not proven: set Open WebUI's FORWARD_USER_INFO_HEADER_JWT_SECRET and our OPENWEBUI_JWT_SECRET to the same secret",
    )
  }
  const { id, name } = await verifyUserToken(headers.userJwt, on.jwtSecrets, on.now())
  return name === undefined ? { id } : { id, name }
}
