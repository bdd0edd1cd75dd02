/** POST /v1/chat/completions: body → Ask → turn → bytes on the socket. */
import type { StopSignal } from '#base/stopping.ts'
import type { Turn } from '#chat/turn.ts'
import type { Ticket } from '#gateway/limits.ts'
import type { Ask } from '#prompt/ask.ts'
import type { Told } from '#providers/provider.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import { writeJson } from '../errors.ts'
import { stopWhenGone } from '../gone.ts'
import { admit, completeAsk, type AskingParts } from './asking.ts'
import type { Caller } from './door.ts'
import { askParts, ignoredFields, ignoredInMessages, readChatBody, type ChatBody } from './read-ask.ts'
import { writeStream } from './stream.ts'
import { collect, createChunks, type Envelope } from './wire.ts'

export interface ChatParts extends AskingParts {
  turn: Turn
}

export function chatHandler(on: ChatParts) {
  return async (caller: Caller): Promise<void> => {
    const { incoming } = caller
    const body = readChatBody(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
    const ask = await completeAsk(askParts(body), caller, on)
    const ticket = admit(ask, caller, on, body.n ?? 1)
    try {
      await answer(body, ask, ticket, caller, on)
    } finally {
      ticket.end()
    }
  }
}

async function answer(
  body: ChatBody,
  ask: Ask,
  ticket: Ticket,
  caller: Caller,
  on: ChatParts,
): Promise<void> {
  const { outgoing } = caller
  const answers = body.n ?? 1
  const deltas = inTurn(on.turn, ask, answers, stopWhenGone(outgoing), ticket)
  caller.ignored([...ignoredFields(body), ...ignoredInMessages(body)])
  const envelope: Envelope = {
    requestId: ask.requestId,
    model: ask.model,
    createdSeconds: Math.floor(on.now() / 1_000),
    takesEvents: ask.conversation.messageId !== undefined,
    wantsSources: body.troupe?.sources ?? false,
  }
  if (!ask.stream) {
    writeJson(outgoing, await collect(deltas, envelope))
    return
  }
  const chunks = createChunks(envelope, body.stream_options?.include_usage ?? false, answers)
  const failure = await writeStream({ outgoing, deltas, chunks, keepAlive: caller.principal.keepAlive })
  if (failure !== undefined) caller.logged['errorCode'] = failure
}

/** Several answers to one question, one after the other: the model server reads the prompt once. Each has a record of its own. */
function inTurn(
  turn: Turn,
  ask: Ask,
  answers: number,
  gone: StopSignal,
  ticket: Ticket,
): AsyncGenerator<Told, void, undefined> {
  if (answers === 1) return turn(ask, gone, ticket)
  return (async function* () {
    for (let at = 0; at < answers; at++) {
      const { seed } = ask.sampling
      const sampling = seed === undefined ? ask.sampling : { ...ask.sampling, seed: seed + at }
      const requestId = at === 0 ? ask.requestId : `${ask.requestId}-${String(at + 1)}`
      yield* turn({ ...ask, sampling, requestId }, gone, ticket)
    }
  })()
}
