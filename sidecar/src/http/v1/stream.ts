/** Writes one streamed answer to the socket, with back-pressure and keep-alive. The only code that knows the socket. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import { toAppError, type AppError } from '#base/errors.ts'
import { BEAT, primed } from '#base/streams.ts'
import type { Delta } from '#providers/provider.ts'

import { KEEP_ALIVE } from './wire.ts'

/** A refusal within this time still becomes a status; later ones are an error event. */
const GRACE_MS = 2_000

/** Clients with an idle deadline of about 20 s exist. */
const BEAT_MS = 10_000

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

/** Makes the events of one streamed answer; what it returns is written as it is. */
export interface Formatter {
  /** What stands before the first delta. */
  open?(): string
  delta(delta: Exclude<Delta, { type: 'done' }>): string
  done(done: Extract<Delta, { type: 'done' }>): string
  /** The end of an answer that failed after its first byte. */
  error(error: AppError): string
}

export interface Streaming {
  outgoing: ServerResponse
  deltas: AsyncGenerator<Delta, void, undefined>
  requestId: string
  formatter: Formatter
}

/**
 * Resolves when the stream has ended, with the code of a failure after the first byte. Throws AppError for a failure
 * before it, so that it becomes a status.
 */
export async function writeStream({
  outgoing,
  deltas,
  requestId,
  formatter,
}: Streaming): Promise<string | undefined> {
  const items = await primed(deltas, GRACE_MS, BEAT_MS)
  outgoing.writeHead(200, { ...HEADERS, 'x-request-id': requestId })
  outgoing.flushHeaders()
  try {
    // Not waited for: only the loop below ends the source when the socket breaks. The next write waits for both.
    if (formatter.open !== undefined && !outgoing.destroyed) outgoing.write(formatter.open())
    for await (const item of items) {
      if (item === BEAT) await write(outgoing, KEEP_ALIVE)
      else await write(outgoing, item.type === 'done' ? formatter.done(item) : formatter.delta(item))
    }
    return undefined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (!outgoing.destroyed) await write(outgoing, formatter.error(error))
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
