/** Originals and portraits in the data folder, named by the hash of what they hold. */
import { randomBytes } from 'node:crypto'
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'

import { PICTURE_FORMATS, type PictureFormat } from './library.ts'

export const WIDTHS = [96, 256, 512] as const
export type Width = (typeof WIDTHS)[number]

const LARGEST = 512

/** A quarter smaller than the WebP, in 0.1 s for all widths; effort 4 takes 0.6 s for another 5 % (measured on the starter cast). */
const AVIF = { quality: 55, effort: 2 }

/** A portrait of 50 megapixels is larger than any screen; a hostile header claims four thousand. */
const MOST_PIXELS = 50_000_000

const LARGEST_PNG = 2_048

const HASH = /^[0-9a-f]{64}$/

/** Loaded with the first picture: whoever only chats does without its memory. */
const loadSharp = async () => (await import('sharp')).default

export interface Files {
  keepOriginal(bytes: Uint8Array): Promise<string>
  original(hash: string): Promise<Uint8Array>
  hasOriginal(hash: string): Promise<boolean>
  dropOriginal(hash: string): Promise<void>
  /**
   * Re-encodes the first frame in all widths and formats. Answers the hash of what it became, so that one picture in two
   * files is one; undefined when it is no picture.
   */
  keepPicture(bytes: Uint8Array): Promise<string | undefined>
  /** Throws AppError `not_found`. */
  picture(hash: string, width: number, format?: PictureFormat): Promise<Uint8Array>
  hasPicture(hash: string): Promise<boolean>
  dropPicture(hash: string): Promise<void>
  /** The largest portrait as PNG, for a card file; without one a plain square. */
  portraitPng(hash: string | null): Promise<Uint8Array>
}

export async function openFiles(dataDir: string): Promise<Files> {
  const originals = path.join(dataDir, 'originals')
  const pictures = path.join(dataDir, 'pictures')
  await mkdir(originals, { recursive: true })
  await mkdir(pictures, { recursive: true })
  const pictureFile = (hash: string, width: number, format: PictureFormat) =>
    path.join(pictures, `${hash}-${String(width)}.${format}`)
  return {
    async keepOriginal(bytes) {
      const hash = sha256Hex(bytes)
      await writeOnce(path.join(originals, hash), () => Promise.resolve(bytes))
      return hash
    },
    original: (hash) => readKept(HASH.test(hash) ? path.join(originals, hash) : undefined),
    hasOriginal: (hash) => isThere(path.join(originals, hash)),
    async dropOriginal(hash) {
      if (HASH.test(hash)) await rm(path.join(originals, hash), { force: true })
    },
    async keepPicture(bytes) {
      try {
        const largest = await encode(bytes, LARGEST, 'webp')
        const hash = sha256Hex(largest)
        for (const format of PICTURE_FORMATS)
          for (const width of WIDTHS)
            await writeOnce(pictureFile(hash, width, format), () => encode(bytes, width, format))
        return hash
      } catch (error) {
        // What sharp cannot read is no picture; a full disk is another matter.
        if (error instanceof Error && 'code' in error) throw error
        return undefined
      }
    },
    hasPicture: (hash) => isThere(pictureFile(hash, LARGEST, 'webp')),
    async dropPicture(hash) {
      if (!HASH.test(hash)) return
      for (const format of PICTURE_FORMATS)
        for (const width of WIDTHS) await rm(pictureFile(hash, width, format), { force: true })
    },
    async portraitPng(hash) {
      const sharp = await loadSharp()
      const portrait =
        hash === null
          ? sharp({ create: { width: LARGEST, height: LARGEST, channels: 3, background: '#dce4e2' } })
          : sharp(await readKept(pictureFile(hash, LARGEST, 'webp')))
      return portrait.png().toBuffer()
    },
    async picture(hash, width, format = 'webp') {
      if (!HASH.test(hash) || !WIDTHS.some((known) => known === width)) return readKept(undefined)
      // Pictures of the first release are there as WebP only.
      const kept = await readKept(pictureFile(hash, width, format)).catch(() => undefined)
      return kept ?? readKept(pictureFile(hash, width, 'webp'))
    },
  }
}

async function encode(bytes: Uint8Array, width: Width, format: PictureFormat): Promise<Buffer> {
  const sharp = await loadSharp()
  const scaled = sharp(bytes, { limitInputPixels: MOST_PIXELS, failOn: 'error', animated: false })
    .rotate()
    .resize({ width, withoutEnlargement: width > 256 })
  return format === 'avif' ? scaled.avif(AVIF).toBuffer() : scaled.webp({ quality: 82 }).toBuffer()
}

export type PictureKind = 'png' | 'webp' | 'jpeg'

/** By its header. Undefined for what is none of them, as for drawings that are programs. */
export async function pictureKind(bytes: Uint8Array): Promise<PictureKind | undefined> {
  const sharp = await loadSharp()
  const { format } = await sharp(bytes, { limitInputPixels: MOST_PIXELS })
    .metadata()
    .catch(() => ({ format: undefined }))
  return format === 'png' || format === 'webp' || format === 'jpeg' ? format : undefined
}

/** Large pictures smaller: a photograph of 50 megapixels has 100 MB as PNG, and no card may have so many. */
export async function toPng(bytes: Uint8Array): Promise<Buffer> {
  const sharp = await loadSharp()
  return sharp(bytes, { limitInputPixels: MOST_PIXELS, animated: false })
    .rotate()
    .resize({ width: LARGEST_PNG, height: LARGEST_PNG, fit: 'inside', withoutEnlargement: true })
    .png()
    .toBuffer()
}

async function readKept(file: string | undefined): Promise<Uint8Array> {
  const bytes = file === undefined ? undefined : await readFile(file).catch(() => undefined)
  if (bytes === undefined) throw new AppError('not_found', 'There is no such file in the library')
  return bytes
}

/** Files are named by what they hold, so one that is there need not be written again. */
async function writeOnce(file: string, bytes: () => Promise<Uint8Array>): Promise<void> {
  if (!(await isThere(file))) await writeDurably(file, await bytes())
}

const isThere = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  )

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
