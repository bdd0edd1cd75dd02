/**
 * Reads cards and lorebooks beside the thread that answers: the worst that a file within the limits can do takes 0.2 s, in
 * which every open stream would stand still.
 */
import { AppError } from '#base/errors.ts'
import { createThread, type Thread } from '#base/thread.ts'
import { json } from '#characters/formats/json.ts'
import { readLorebook, type ReadLorebook } from '#characters/lorebooks.ts'
import { readCard, type ReadCard } from '#characters/read.ts'

/** Each rejects as the function of its name. */
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

/** Its thread starts with the first file that needs it. Whoever opens it closes it. */
export function openCardReader(
  thread: Thread = createThread(THREAD, undefined, 'The reader of cards'),
): CardReader & { close(): Promise<void> } {
  /** A file that ended the thread would end the next one too: that is its own fault, and no reason to try again. */
  async function elsewhere(method: keyof CardReader, { bytes, fileName }: FileToRead): Promise<unknown> {
    const isShared = bytes.buffer instanceof SharedArrayBuffer
    // A view would take the whole buffer along that it looks into.
    const file: FileToRead = { bytes: isShared ? bytes : Uint8Array.from(bytes), fileName }
    try {
      return await thread.call(method, file, isShared ? [] : [file.bytes.buffer as ArrayBuffer])
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'unavailable')) throw error
      throw new AppError('invalid', 'The file could not be read: too much is packed into it', {
        cause: error,
      })
    }
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
