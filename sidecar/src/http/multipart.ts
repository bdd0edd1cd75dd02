/** Files of an upload one after the other, as they arrive: none is ever whole in the memory. */
import type { IncomingMessage } from 'node:http'
import { Transform, type Readable } from 'node:stream'

import { Busboy, type BusboyHeaders } from '@fastify/busboy'

import { AppError } from '#base/errors.ts'

export interface ArrivingFile {
  /** As the client sent it, folders included; nothing to open a file by. */
  name: string
  /** What is left unread of it is passed over. */
  bytes: AsyncIterable<Uint8Array>
}

interface Limits {
  files: number
  /** Of the whole request. */
  bytes: number
}

/**
 * The files in the field `files`. Throws AppError `invalid` for what is no such upload, `too_large` when it passes a limit,
 * `cancelled` when the client leaves.
 */
export async function* arrivingFiles(
  incoming: IncomingMessage,
  limits: Limits,
): AsyncGenerator<ArrivingFile> {
  const arrived: { name: string; stream: Readable }[] = []
  const state: { failure?: AppError; isEnded: boolean } = { isEnded: false }
  let wake: () => void = () => undefined
  const end = (error?: AppError) => {
    if (error !== undefined) state.failure ??= error
    state.isEnded = true
    for (const { stream } of arrived) stream.resume()
    wake()
  }
  const form = openForm(incoming, limits)
  form.on('file', (field, stream, name) => {
    if (field !== 'files' || state.isEnded) stream.resume()
    else arrived.push({ name, stream })
    wake()
  })
  form.once('filesLimit', () => end(tooMany(limits.files)))
  form.once('finish', () => end())
  form.once('error', (cause) =>
    end(new AppError('invalid', 'The upload is no valid multipart/form-data', { cause })),
  )
  incoming.once('aborted', () =>
    end(new AppError('cancelled', 'The client left before its upload was whole')),
  )
  let sizeBytes = 0
  incoming.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length
    if (sizeBytes > limits.bytes) end(tooMuch(limits.bytes))
  })
  const turns = inTurns()
  incoming.pipe(turns).pipe(form)
  try {
    for (;;) {
      const file = arrived.shift()
      if (file !== undefined) {
        yield { name: file.name, bytes: bytesOf(file.stream, () => state.failure) }
        file.stream.resume()
      } else if (state.isEnded) break
      else await new Promise<void>((resolve) => (wake = resolve))
    }
    if (state.failure !== undefined) throw state.failure
  } finally {
    incoming.unpipe(turns).resume()
    for (const { stream } of arrived) stream.resume()
  }
}

/** More in one request are an archive. */
const MOST_FILES = 2_000

/**
 * Small files, each whole, one after the other: a parser that holds the request together blocks for a second at 60 MB, and
 * takes its size four times. The bytes of a file are its own until the next one is asked for. Throws as `arrivingFiles`, and
 * AppError `invalid` when there is none.
 */
export async function* uploadedFiles(
  incoming: IncomingMessage,
  mostBytes: number,
): AsyncGenerator<{ name: string; bytes: Uint8Array }> {
  if (Number(incoming.headers['content-length'] ?? 0) > mostBytes) throw tooMuch(mostBytes)
  let count = 0
  for await (const { name, bytes } of arrivingFiles(incoming, { files: MOST_FILES, bytes: mostBytes })) {
    count += 1
    const file = await whole(bytes, mostBytes)
    yield { name, bytes: file }
    if (file.buffer instanceof SharedArrayBuffer) spareRoom = new WeakRef(file.buffer)
  }
  if (count === 0)
    throw new AppError('invalid', 'No file arrived; send files in the multipart field "files"', {
      param: 'files',
    })
}

/** Up to here pieces are put together at the end. */
const SMALL_BYTES = 1024 * 1024

/**
 * The room that a large file had, while V8 has not collected it: it does not count shared memory, so it is in no hurry, and
 * the room of every large file would come on top of the last one's (measured: 92 MB for two of 63 and 29 MB).
 */
let spareRoom: WeakRef<SharedArrayBuffer> | undefined

function takeRoom(sizeBytes: number): SharedArrayBuffer {
  const spare = spareRoom?.deref()
  spareRoom = undefined
  return spare !== undefined && spare.byteLength >= sizeBytes ? spare : new SharedArrayBuffer(sizeBytes)
}

/**
 * A large one is written into its place as it arrives: pieces and a copy of them are twice its size. The memory can be shared,
 * so that a thread that reads the file needs no copy either.
 */
async function whole(bytes: AsyncIterable<Uint8Array>, mostBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = []
  let large: Buffer | undefined
  let length = 0
  for await (const piece of bytes) {
    if (large === undefined && length + piece.length > SMALL_BYTES) {
      large = Buffer.from(takeRoom(mostBytes))
      Buffer.concat(pieces).copy(large)
    }
    if (large === undefined) pieces.push(piece)
    else large.set(piece, length)
    length += piece.length
  }
  return large?.subarray(0, length) ?? Buffer.concat(pieces)
}

/**
 * A piece (64 KiB) for each turn of the event loop. Node reads up to 32 of them in one, and whoever chats meanwhile waits for
 * all that is done with them, at every turn that an answer takes (measured at 60 MB: p99 of chats twice as long).
 */
const inTurns = () =>
  new Transform({ transform: (piece, _encoding, done) => void setImmediate(done, null, piece) })

function openForm(incoming: IncomingMessage, { files }: Limits) {
  try {
    return new Busboy({
      headers: incoming.headers as BusboyHeaders,
      preservePath: true,
      limits: { files, fields: 20, fieldSize: 1_000, headerPairs: 20 },
    })
  } catch (cause) {
    throw new AppError('invalid', 'Send the files as multipart/form-data in the field "files"', {
      cause,
      param: 'files',
    })
  }
}

async function* bytesOf(stream: Readable, failure: () => AppError | undefined): AsyncGenerator<Uint8Array> {
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) yield chunk as Uint8Array
  const error = failure()
  if (error !== undefined) throw error
}

const tooMany = (files: number) =>
  new AppError('too_large', `More than ${files} files in one upload; send them in several`, {
    param: 'files',
  })
const tooMuch = (bytes: number) =>
  new AppError(
    'too_large',
    `The upload is larger than ${Math.round(bytes / 1024 / 1024)} MB; send fewer files at a time, or cards as one archive to /troupe/api/imports`,
  )
