/** POST /v1/chat/completions: body → Ask → turn → bytes on the socket. */
import type { IncomingMessage } from 'node:http'

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import type { Context } from 'hono'

import { AppError } from '#base/errors.ts'
import { taskOf } from '#chat/tasks.ts'
import type { Turn } from '#chat/turn.ts'
import { readHeaders, verifyUserToken } from '#openwebui/headers.ts'
import type { Ask, Person } from '#prompt/ask.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { goneSignal } from '../gone.ts'
import { askParts, readChatBody, type AskParts } from './read-ask.ts'
import { writeStream } from './stream.ts'
import { collect, createChunks, type Envelope } from './wire.ts'

export interface ChatParts {
  turn: Turn
  /** Secrets that may have signed Open WebUI's user token; empty when none is configured. */
  jwtSecrets: readonly string[]
  now: () => number
}

export function chatHandler(on: ChatParts) {
  return async (c: Context<AppEnv>): Promise<Response> => {
    const { incoming, outgoing } = c.env
    const body = readChatBody(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
    const ask = await readAsk(askParts(body), incoming, c.var, on)
    c.var.logged['model'] = ask.model
    c.var.logged['task'] = ask.task ?? null

    const gone = goneSignal(outgoing)
    const envelope: Envelope = {
      requestId: ask.requestId,
      model: ask.model,
      createdSeconds: Math.floor(on.now() / 1_000),
    }
    if (!ask.stream) return c.json(await collect(on.turn(ask, gone), envelope))
    const wantsUsage = body.stream_options?.include_usage ?? false
    const failure = await writeStream({
      outgoing,
      deltas: on.turn(ask, gone),
      requestId: ask.requestId,
      formatter: createChunks(envelope, wantsUsage),
    })
    if (failure !== undefined) c.var.logged['errorCode'] = failure
    return RESPONSE_ALREADY_SENT
  }
}

/** Adds who asks and from where. Throws AppError `unauthenticated` and `invalid` for what the headers claim wrongly. */
export async function readAsk(
  parts: AskParts,
  incoming: IncomingMessage,
  { requestId, principal }: AppEnv['Variables'],
  on: ChatParts,
): Promise<Ask> {
  const headers = readHeaders(incoming.headers)
  const trusted = principal.scopes.includes('forward-user')
  const person = trusted ? await forwardedPerson(headers, on) : undefined
  const conversation = trusted ? headers.conversation : {}
  const task = taskOf({
    header: trusted ? headers.task : undefined,
    model: parts.model,
    stream: parts.stream,
    messageId: conversation.messageId,
    messages: parts.messages,
  })
  return {
    ...parts,
    requestId,
    surface: trusted ? 'open-webui' : 'api',
    keyId: principal.keyId,
    conversation,
    ...(person === undefined ? {} : { person }),
    ...(task === undefined ? {} : { task }),
  }
}

/** Open WebUI vouches for its user by a signed token; plain headers can be written by anybody and are refused. */
async function forwardedPerson(
  headers: ReturnType<typeof readHeaders>,
  on: ChatParts,
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
