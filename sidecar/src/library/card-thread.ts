/** The thread of `card-reader.ts`. */
import { constants, setPriority } from 'node:os'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { readLorebook } from '#characters/lorebooks.ts'
import { readCard } from '#characters/read.ts'
import { serveThread } from '#rag/serve-thread.mjs'

import type { FileToRead } from './card-reader.ts'

// Who chats comes first. Linux knows a priority of each thread; elsewhere it would be that of the whole process. Not lower: on a
// machine whose model takes all cores, a card would never be read.
if (process.platform === 'linux') setPriority(constants.priority.PRIORITY_BELOW_NORMAL)

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Below it, a collection takes longer than the file. */
const LARGE_BYTES = 512 * 1024

/**
 * What a large file took lies outside the heap, where V8 hardly sees it: without being told, the next one's comes on top (two
 * of 1 MB that unpack to a gigabyte, measured: 37 MB, else 21).
 */
async function collecting<T>({ bytes }: FileToRead, read: () => Promise<T>): Promise<T> {
  try {
    return await read()
  } finally {
    // Once the answer is sent.
    if (bytes.length >= LARGE_BYTES) setTimeout(collect)
  }
}

serveThread(
  {
    readCard: (file: FileToRead) =>
      collecting(file, async () => {
        const read = await readCard(file.bytes, file.fileName)
        // What is sent takes along the whole buffer that it looks into.
        return read.picture === undefined ? read : { ...read, picture: Uint8Array.from(read.picture) }
      }),
    readLorebook: (file: FileToRead) => collecting(file, () => readLorebook(file.bytes, file.fileName)),
  },
  () => undefined,
)
