/** Writes one streamed answer to the socket, with back-pressure and keep-alive. The only code that knows the socket. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import { toAppError } from '#base/errors.ts'
import { BEAT, primed } from '#base/streams.ts'
import type { Delta } from '#providers/provider.ts'

import { createChunks, KEEP_ALIVE, type Envelope } from './wire.ts'

/** A refusal within this time still becomes a status; later ones are an error event. */
const GRACE_MS = 2_000

/** Clients with an idle deadline of about 20 s exist. */
const BEAT_MS = 10_000

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

export interface Streaming {
  outgoing: ServerResponse
  deltas: AsyncGenerator<Delta, void, undefined>
  envelope: Envelope
  wantsUsage: boolean
}

/**
 * Resolves when the stream has ended, with the code of a failure after the first byte. Throws AppError for a failure
 * before it, so that it becomes a status.
 */
export async function writeStream({
  outgoing,
  deltas,
  envelope,
  wantsUsage,
}: Streaming): Promise<string | undefined> {
  const items = await primed(deltas, GRACE_MS, BEAT_MS)
  const chunks = createChunks(envelope, wantsUsage)
  outgoing.writeHead(200, { ...HEADERS, 'x-request-id': envelope.requestId })
  outgoing.flushHeaders()
  try {
    for await (const item of items) {
      if (item === BEAT) await write(outgoing, KEEP_ALIVE)
      else await write(outgoing, item.type === 'done' ? chunks.done(item) : chunks.delta(item))
    }
    return undefined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (!outgoing.destroyed) await write(outgoing, chunks.error(error))
    return error.code
  } finally {
    outgoing.end()
  }
}

/** Waits for the socket when its buffer is full; a socket that closed meanwhile ends the wait. */
async function write(outgoing: ServerResponse, text: string): Promise<void> {
  if (outgoing.destroyed || outgoing.write(text)) return
  const waiting = new AbortController()
  try {
    const { signal } = waiting
    await Promise.race([once(outgoing, 'drain', { signal }), once(outgoing, 'close', { signal })])
  } finally {
    waiting.abort()
  }
}
