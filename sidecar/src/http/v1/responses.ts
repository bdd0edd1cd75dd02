/** POST /v1/responses: the same turn as a chat's, in the newer form of the OpenAI API. Nothing is kept between requests. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'

import { toAppError } from '#base/errors.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { goneSignal } from '../gone.ts'
import { readAsk, type ChatParts } from './chat.ts'
import { askParts } from './read-ask.ts'
import { inOwnWords, readResponsesBody, settingsOf, toChatBody } from './read-responses.ts'
import { collectResponse, createResponseEvents, type ResponseHead } from './response-events.ts'
import { writeStream } from './stream.ts'

export function responsesHandler(on: ChatParts) {
  return (c: Context<AppEnv>): Promise<Response> =>
    respond(c, on).catch((thrown: unknown) => {
      throw inOwnWords(toAppError(thrown))
    })
}

async function respond(c: Context<AppEnv>, on: ChatParts): Promise<Response> {
  const { incoming, outgoing } = c.env
  const body = readResponsesBody(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
  const ask = await readAsk(askParts(toChatBody(body)), incoming, c.var, on)
  c.var.logged['model'] = ask.model
  c.var.logged['task'] = ask.task ?? null

  const deltas = on.turn(ask, goneSignal(outgoing))
  const head: ResponseHead = {
    requestId: ask.requestId,
    createdSeconds: Math.floor(on.now() / 1_000),
    settings: settingsOf(body),
  }
  if (!ask.stream) return c.json(await collectResponse(deltas, head))
  const formatter = createResponseEvents(head)
  const failure = await writeStream({ outgoing, deltas, requestId: ask.requestId, formatter })
  if (failure !== undefined) c.var.logged['errorCode'] = failure
  return RESPONSE_ALREADY_SENT
}
