/** Files of documents in the data folder, named by the hash of what they hold; never by what they were called. */
import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { access, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'

import { AppError } from '#base/errors.ts'
import { sniff } from '#rag/kinds.ts'
import { DOCUMENT_LIMITS } from '#rag/limits.ts'

export interface Originals {
  /** Throws AppError `too_large`, or `invalid` as soon as the first bytes tell that nothing can read it. */
  keep(name: string, bytes: AsyncIterable<Uint8Array>): Promise<{ sha256: string; sizeBytes: number }>
  fileOf(sha256: string): string
  isHere(sha256: string): Promise<boolean>
  drop(sha256: string): Promise<void>
}

/** An upload that nobody has added to for so long was broken off; a younger one may be another process's in this folder. */
const LEFT_MS = 3_600_000

/** Enough for every mark that tells a format. */
const HEAD_BYTES = 8_192

export async function openOriginals(dataDir: string, now: () => number): Promise<Originals> {
  const folder = path.join(dataDir, 'knowledge')
  const arriving = path.join(folder, 'arriving')
  await mkdir(arriving, { recursive: true, mode: 0o700 })
  for (const name of await readdir(arriving)) {
    const file = path.join(arriving, name)
    const changedAtMs = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      // It has arrived meanwhile.
      () => undefined,
    )
    if (changedAtMs !== undefined && now() - changedAtMs > LEFT_MS) await rm(file, { force: true })
  }
  const fileOf = (sha256: string) => path.join(folder, sha256)

  return {
    fileOf,
    isHere: (sha256) =>
      access(fileOf(sha256)).then(
        () => true,
        () => false,
      ),
    async keep(name, bytes) {
      const unfinished = path.join(arriving, randomBytes(12).toString('hex'))
      const hash = createHash('sha256')
      let sizeBytes = 0
      const counted = async function* (chunks: AsyncIterable<Uint8Array>) {
        let head = Buffer.alloc(0)
        let isKnown = false
        for await (const chunk of chunks) {
          sizeBytes += chunk.length
          if (sizeBytes > DOCUMENT_LIMITS.fileBytes) throw tooLarge()
          hash.update(chunk)
          if (!isKnown) {
            head = Buffer.concat([head, chunk])
            isKnown = head.length >= HEAD_BYTES
            if (isKnown) sniff(name, head)
          }
          yield chunk
        }
        if (!isKnown) sniff(name, head)
      }
      try {
        await pipeline(
          bytes,
          counted,
          createWriteStream(unfinished, { flags: 'wx', mode: 0o600, flush: true }),
        )
        const sha256 = hash.digest('hex')
        await rename(unfinished, fileOf(sha256))
        return { sha256, sizeBytes }
      } finally {
        await rm(unfinished, { force: true })
      }
    },
    drop: (sha256) => rm(fileOf(sha256), { force: true }),
  }
}

const tooLarge = () =>
  new AppError(
    'too_large',
    `The file is larger than ${Math.round(DOCUMENT_LIMITS.fileBytes / 1024 / 1024)} MB; send it in parts`,
  )
