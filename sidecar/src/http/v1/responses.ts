/** POST /v1/responses: the same turn as a chat's, in the newer form of the OpenAI API. Nothing is kept between requests. */
import { toAppError } from '#base/errors.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import { writeJson } from '../errors.ts'
import { stopWhenGone } from '../gone.ts'
import { admit, completeAsk } from './asking.ts'
import type { ChatParts } from './chat.ts'
import type { Caller } from './door.ts'
import { askParts } from './read-ask.ts'
import { inOwnWords, readResponsesBody, settingsOf, toChatBody } from './read-responses.ts'
import { collectResponse, createResponseEvents, type ResponseHead } from './response-events.ts'
import { writeStream } from './stream.ts'

export function responsesHandler(on: ChatParts) {
  return (caller: Caller): Promise<void> =>
    respond(caller, on).catch((thrown: unknown) => {
      throw inOwnWords(toAppError(thrown))
    })
}

async function respond(caller: Caller, on: ChatParts): Promise<void> {
  const { incoming, outgoing } = caller
  const { body, ignored } = readResponsesBody(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
  caller.ignored(ignored)
  const ask = await completeAsk(askParts(toChatBody(body)), caller, on)
  const ticket = admit(ask, caller, on)
  const deltas = on.turn(ask, stopWhenGone(outgoing), ticket)
  const head: ResponseHead = {
    requestId: ask.requestId,
    createdSeconds: Math.floor(on.now() / 1_000),
    settings: settingsOf(body),
    wantsSources: body.troupe?.sources ?? false,
  }
  try {
    if (!ask.stream) {
      writeJson(outgoing, await collectResponse(deltas, head))
      return
    }
    const failure = await writeStream({
      outgoing,
      deltas,
      chunks: createResponseEvents(head),
      keepAlive: caller.principal.keepAlive,
    })
    if (failure !== undefined) caller.logged['errorCode'] = failure
  } finally {
    ticket.end()
  }
}
