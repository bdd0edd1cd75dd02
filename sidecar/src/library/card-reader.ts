/**
 * Reads cards and lorebooks beside the thread that answers: the worst that a file within the limits can do takes 0.2 s, in
 * which every open stream would stand still.
 */
import { AppError } from '#base/errors.ts'
import { createThread, type Thread } from '#base/thread.ts'
import { json } from '#characters/formats/json.ts'
import { readLorebook, type ReadLorebook } from '#characters/lorebooks.ts'
import { readCard, type ReadCard } from '#characters/read.ts'

/** Each rejects as the function of its name, and with `unavailable` where files cannot be read at all. */
export interface CardReader {
  readCard(bytes: Uint8Array, fileName: string): Promise<ReadCard>
  readLorebook(bytes: Uint8Array, fileName: string): Promise<ReadLorebook>
}

export interface FileToRead {
  bytes: Uint8Array
  fileName: string
}

/** Read where it is asked for, by those that nobody waits beside. */
export const readsHere: CardReader = { readCard, readLorebook }

/** Plain JSON costs what it is long, and this much less than the way to the thread (0.3 ms). */
const SMALL_BYTES = 16_384

const isSmall = (bytes: Uint8Array): boolean => bytes.length <= SMALL_BYTES && json.sniff(bytes)

const IS_SOURCE = import.meta.url.endsWith('.ts')
const THREAD = new URL(IS_SOURCE ? './card-thread.ts' : './card-thread.js', import.meta.url)

const isFull = (error: unknown): boolean =>
  error instanceof AppError &&
  error.cause instanceof Error &&
  'code' in error.cause &&
  error.cause.code === 'ERR_WORKER_OUT_OF_MEMORY'

/** Files come together, and then for days none. Measured: a thread that reads nothing takes 12 to 30 MB. */
const IDLE_MS = 10_000

/** Its thread is there while files are read that need it. Whoever opens it closes it. */
export function openCardReader(
  thread: Thread = createThread(THREAD, undefined, 'The reader of cards', { idleMs: IDLE_MS }),
): CardReader & { close(): Promise<void> } {
  /** Files that were read when the memory of the thread was full, by turns: whose fault it was shows who is alone with it. */
  let suspects: Promise<unknown> = Promise.resolve()

  async function elsewhere(method: keyof CardReader, file: FileToRead): Promise<unknown> {
    try {
      return await ask(method, file)
    } catch (error) {
      if (!isFull(error)) throw error
      const again = suspects.then(() => ask(method, file))
      suspects = again.catch(() => undefined)
      return await again.catch((cause: unknown) => {
        if (!isFull(cause)) throw cause
        throw new AppError('too_large', 'The file could not be read: too much is packed into it', { cause })
      })
    }
  }

  function ask(method: keyof CardReader, { bytes, fileName }: FileToRead): Promise<unknown> {
    const isShared = bytes.buffer instanceof SharedArrayBuffer
    // A view would take the whole buffer along that it looks into.
    const own = isShared ? bytes : Uint8Array.from(bytes)
    return thread.call(method, { bytes: own, fileName }, isShared ? [] : [own.buffer as ArrayBuffer])
  }

  return {
    readCard: (bytes, fileName) =>
      isSmall(bytes)
        ? readCard(bytes, fileName)
        : (elsewhere('readCard', { bytes, fileName }) as Promise<ReadCard>),
    readLorebook: (bytes, fileName) =>
      isSmall(bytes)
        ? readLorebook(bytes, fileName)
        : (elsewhere('readLorebook', { bytes, fileName }) as Promise<ReadLorebook>),
    close: () => thread.close(),
  }
}
