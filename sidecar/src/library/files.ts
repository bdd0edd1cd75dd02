/** Originals and portraits in the data folder, named by the hash of what they hold. */
import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import path from 'node:path'

import sharp from 'sharp'

import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'

export const WIDTHS = [96, 256, 512] as const
export type Width = (typeof WIDTHS)[number]

/** A portrait of 50 megapixels is larger than any screen; a hostile header claims four thousand. */
const MOST_PIXELS = 50_000_000

const HASH = /^[0-9a-f]{64}$/

export interface Files {
  keepOriginal(bytes: Uint8Array): Promise<string>
  original(hash: string): Promise<Uint8Array>
  /** Re-encodes the first frame in all widths; the hash of the source, or undefined when it is no picture. */
  keepPicture(bytes: Uint8Array): Promise<string | undefined>
  /** WebP. Throws AppError `not_found`. */
  picture(hash: string, width: number): Promise<Uint8Array>
  /** The largest portrait as PNG, for a card file; without one a plain square. */
  portraitPng(hash: string | null): Promise<Uint8Array>
}

export async function openFiles(dataDir: string): Promise<Files> {
  const originals = path.join(dataDir, 'originals')
  const pictures = path.join(dataDir, 'pictures')
  await mkdir(originals, { recursive: true })
  await mkdir(pictures, { recursive: true })
  const pictureFile = (hash: string, width: number) => path.join(pictures, `${hash}-${String(width)}.webp`)
  return {
    async keepOriginal(bytes) {
      const hash = sha256Hex(bytes)
      await writeDurably(path.join(originals, hash), bytes)
      return hash
    },
    original: (hash) => readKept(HASH.test(hash) ? path.join(originals, hash) : undefined),
    async keepPicture(bytes) {
      const hash = sha256Hex(bytes)
      try {
        for (const width of WIDTHS) await writeDurably(pictureFile(hash, width), await encode(bytes, width))
        return hash
      } catch (error) {
        // What sharp cannot read is no picture; a full disk is another matter.
        if (error instanceof Error && 'code' in error) throw error
        return undefined
      }
    },
    portraitPng: async (hash) =>
      hash === null
        ? sharp({ create: { width: 512, height: 512, channels: 3, background: '#dce4e2' } })
            .png()
            .toBuffer()
        : sharp(await readKept(pictureFile(hash, 512)))
            .png()
            .toBuffer(),
    picture: (hash, width) =>
      readKept(
        HASH.test(hash) && WIDTHS.some((known) => known === width) ? pictureFile(hash, width) : undefined,
      ),
  }
}

function encode(bytes: Uint8Array, width: Width): Promise<Buffer> {
  return sharp(bytes, { limitInputPixels: MOST_PIXELS, failOn: 'error', animated: false })
    .rotate()
    .resize({ width, withoutEnlargement: width > 256 })
    .webp({ quality: 82 })
    .toBuffer()
}

async function readKept(file: string | undefined): Promise<Uint8Array> {
  const bytes = file === undefined ? undefined : await readFile(file).catch(() => undefined)
  if (bytes === undefined) throw new AppError('not_found', 'There is no such file in the library')
  return bytes
}

/** Whole or not at all, and on the disk before a row may point to it. */
async function writeDurably(file: string, bytes: Uint8Array): Promise<void> {
  const unfinished = `${file}.${randomBytes(6).toString('hex')}`
  const handle = await open(unfinished, 'wx', 0o600)
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(unfinished, file)
}
