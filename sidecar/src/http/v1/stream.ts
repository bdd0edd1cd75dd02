/** Writes one streamed answer to the socket, with back-pressure and keep-alive. The only code that knows the socket. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import { toAppError, type AppError } from '#base/errors.ts'
import type { Delta, Notice, Told } from '#providers/provider.ts'

/** A refusal within this time still becomes a status; later ones are an error event. */
const GRACE_MS = 2_000

/** Clients with an idle deadline of about 20 s exist. */
const BEAT_MS = 10_000

/** A client that takes nothing for so long is gone, whatever its socket says. */
const STALL_MS = 60_000

/** A comment line with a single line break: readers that join an empty line to it trip over the longer form. */
const KEEP_ALIVE = ': keep-alive\n'

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
}

type Done = Extract<Delta, { type: 'done' }>

/** How deltas look on the wire. */
export interface Chunks {
  /** What stands before the first delta. */
  open?(): string
  delta(delta: Exclude<Delta, Done>): string
  done(done: Done): string
  /** Something for who waits; absent where the dialect has no word for it. */
  notice?(notice: Notice): string
  /** A failure after the first byte. */
  error(error: AppError): string
}

export interface Streaming {
  outgoing: ServerResponse
  deltas: AsyncIterable<Told>
  chunks: Chunks
  /** Times, in milliseconds, for tests. */
  graceMs?: number
  beatMs?: number
  stallMs?: number
}

/**
 * Resolves when the stream has ended, with the code of a failure after the first byte. Throws AppError for a failure
 * before it, so that it becomes a status.
 */
export async function writeStream({
  outgoing,
  deltas,
  chunks,
  graceMs = GRACE_MS,
  beatMs = BEAT_MS,
  stallMs = STALL_MS,
}: Streaming): Promise<string | undefined> {
  const open = () => {
    if (outgoing.headersSent || outgoing.destroyed) return
    outgoing.writeHead(200, HEADERS)
    outgoing.flushHeaders()
    if (chunks.open !== undefined) outgoing.write(chunks.open())
  }
  const grace = setTimeout(open, graceMs)
  const beat = setInterval(() => {
    open()
    if (!outgoing.writableNeedDrain) outgoing.write(KEEP_ALIVE)
  }, beatMs)
  try {
    for await (const told of deltas) {
      // Nobody listens any more; leaving the loop ends the source.
      if (outgoing.destroyed) return 'cancelled'
      if (told.type === 'status' && chunks.notice === undefined) continue
      // Before the text of a delta is made: what stands before the first one comes first.
      open()
      beat.refresh()
      if (!outgoing.write(textOf(told, chunks))) await drained(outgoing, stallMs)
    }
    return undefined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (!outgoing.headersSent) throw error
    if (!outgoing.destroyed) outgoing.write(chunks.error(error))
    return error.code
  } finally {
    clearTimeout(grace)
    clearInterval(beat)
    if (outgoing.headersSent) outgoing.end()
  }
}

function textOf(told: Told, chunks: Chunks): string {
  if (told.type === 'done') return chunks.done(told)
  return told.type === 'status' ? (chunks.notice?.(told) ?? '') : chunks.delta(told)
}

/** Waits until the socket takes more; one that closed meanwhile, or takes nothing for too long, ends the wait. */
async function drained(outgoing: ServerResponse, stallMs: number): Promise<void> {
  if (outgoing.destroyed) return
  const waiting = new AbortController()
  const stalled = setTimeout(() => outgoing.destroy(), stallMs)
  try {
    const { signal } = waiting
    await Promise.race([once(outgoing, 'drain', { signal }), once(outgoing, 'close', { signal })])
  } finally {
    clearTimeout(stalled)
    waiting.abort()
  }
}
