/** POST /v1/chat/completions: body → Ask → turn → bytes on the socket. */
import type { Turn } from '#chat/turn.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import { writeJson } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import { completeAsk, type AskingParts } from './asking.ts'
import type { Caller } from './door.ts'
import { askParts, readChatBody } from './read-ask.ts'
import { writeStream } from './stream.ts'
import { collect, createChunks, type Envelope } from './wire.ts'

export interface ChatParts extends AskingParts {
  turn: Turn
}

export function chatHandler(on: ChatParts) {
  return async (caller: Caller): Promise<void> => {
    const { incoming, outgoing } = caller
    const body = readChatBody(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
    const ask = await completeAsk(askParts(body), caller, on)
    const gone = goneSignal(outgoing)
    const envelope: Envelope = {
      requestId: ask.requestId,
      model: ask.model,
      createdSeconds: Math.floor(on.now() / 1_000),
    }
    if (!ask.stream) {
      writeJson(outgoing, await collect(on.turn(ask, gone), envelope))
      return
    }
    const chunks = createChunks(envelope, body.stream_options?.include_usage ?? false)
    const failure = await writeStream({ outgoing, deltas: on.turn(ask, gone), chunks })
    if (failure !== undefined) caller.logged['errorCode'] = failure
  }
}
