/** Writes what comes bit by bit to the socket, with back-pressure and keep-alive. The only code that knows the socket. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'

import { toAppError, type AppError } from '#base/errors.ts'
import type { KeepAlive } from '#gateway/keys.ts'
import type { Cited, Delta, Notice, Told } from '#providers/provider.ts'

import { writePieces, type Pieces } from '../pieces.ts'

/**
 * Clients with an idle deadline of about 20 s exist. A failure before the first sign of life still becomes a status; later ones
 * are an error event.
 */
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
  /** Where the answer may come from; absent for who did not ask. */
  sources?(cited: Cited): string
  /** A piece of the answer that says nothing; absent where the dialect has none. */
  beat?(): string
  /** A failure after the first byte. */
  error(error: AppError): string
}

export interface Streaming extends Times {
  outgoing: ServerResponse
  deltas: AsyncIterable<Told>
  chunks: Chunks
  keepAlive?: KeepAlive | undefined
}

/** Writes an answer as server-sent events. Resolves and throws as `writeItems`. */
export function writeStream({
  outgoing,
  deltas,
  chunks,
  keepAlive = 'comment',
  ...times
}: Streaming): Promise<string | undefined> {
  return writeItems({
    outgoing,
    ...times,
    items: deltas,
    headers: HEADERS,
    ...(chunks.open && { open: chunks.open }),
    isShown: (told) => isShown(told, chunks),
    toText: (told) => textOf(told, chunks),
    beat: () => (keepAlive === 'off' ? '' : (keepAlive === 'chunk' && chunks.beat?.()) || KEEP_ALIVE),
    error: chunks.error,
  })
}

/** In milliseconds; others are for tests. */
interface Times {
  beatMs?: number
  stallMs?: number
}

export interface Writing<T> extends Times {
  outgoing: ServerResponse
  items: AsyncIterable<T>
  headers: Readonly<Record<string, string>>
  /** What stands before the first item. */
  open?: () => string
  /** What is not shown does not begin the answer. */
  isShown: (item: T) => boolean
  toText: (item: T) => string
  /** Says that we are alive. */
  beat: () => string
  error: (error: AppError) => string
}

/**
 * Resolves when all is written, with the code of a failure after the first byte. Throws AppError for a failure before it, so
 * that it becomes a status.
 */
export async function writeItems<T>({
  outgoing,
  items,
  headers,
  open = () => '',
  isShown,
  toText,
  beat,
  error: toError,
  beatMs = BEAT_MS,
  stallMs = STALL_MS,
}: Writing<T>): Promise<string | undefined> {
  let pieces: Pieces | undefined
  // The head leaves with the first piece.
  const begin = () => {
    if (pieces !== undefined) return pieces
    outgoing.writeHead(200, headers)
    pieces = writePieces(outgoing)
    pieces.write(open())
    return pieces
  }
  const alive = setInterval(() => {
    if (outgoing.destroyed) return
    begin()
    outgoing.flushHeaders()
    if (!outgoing.writableNeedDrain) begin().write(beat())
  }, beatMs)
  try {
    for await (const item of items) {
      // Nobody listens any more; leaving the loop ends the source.
      if (outgoing.destroyed) return 'cancelled'
      if (!isShown(item)) continue
      // Before the text is made: what stands before the first item comes first.
      const { write } = begin()
      alive.refresh()
      if (!write(toText(item))) await drained(outgoing, stallMs)
    }
    return undefined
  } catch (thrown) {
    const error = toAppError(thrown)
    if (pieces === undefined) throw error
    if (!outgoing.destroyed) pieces.write(toError(error))
    return error.code
  } finally {
    clearInterval(alive)
    pieces?.end()
  }
}

function isShown({ type }: Told, chunks: Chunks): boolean {
  if (type === 'status') return chunks.notice !== undefined
  return type !== 'sources' || chunks.sources !== undefined
}

function textOf(told: Told, chunks: Chunks): string {
  if (told.type === 'done') return chunks.done(told)
  if (told.type === 'status') return chunks.notice?.(told) ?? ''
  return told.type === 'sources' ? (chunks.sources?.(told) ?? '') : chunks.delta(told)
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
