/** CHARX: a zip archive with `card.json` and the pictures of a card, alone or behind a JPEG. */
import { AppError } from '#base/errors.ts'

import { LIMITS } from '../limits.ts'
import { isObject } from '../mend.ts'
import type { Notebook } from '../notes.ts'
import type { CardFormat } from './format.ts'
import { findArchive, openArchive, type Archive } from './zip.ts'

const CARD = 'card.json'
/** RisuAI's own module: its lorebook replaces that of the card there. */
const RISU_MODULE = 'module.risum'
/** Of the two spellings seen the first is the specification's. */
const ADDRESS = /^embedd?ed:\/\/(.+)$/i

const toBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const charx: CardFormat = {
  sniff: (bytes) => findArchive(toBuffer(bytes)) !== undefined,
  async read(bytes, notebook) {
    const buffer = toBuffer(bytes)
    const place = findArchive(buffer)
    if (place === undefined) throw new AppError('invalid', 'This is no zip archive')
    const archive = await openArchive(buffer, place, notebook)
    if (!archive.names.includes(CARD)) throw noCard(archive)
    const card = await archive.open(CARD, LIMITS.jsonBytes)
    if (archive.names.includes(RISU_MODULE))
      notebook.note(
        'risu_module',
        'character_book',
        'The card has a RisuAI module, which is not read; its lorebook may be newer than the one in the card.',
      )
    if (archive.names.length > 1)
      notebook.note(
        'packed_assets',
        'assets',
        'Of the files inside the archive only exports as CHARX keep those that the card names; the original keeps all.',
      )
    const picture = (await mainIcon(card, archive, notebook)) ?? pictureBefore(buffer, archive)
    return {
      groups: [[{ name: CARD, open: () => card }]],
      container: 'charx',
      ...(picture && { picture }),
    }
  },
}

/** The icon called main, else the first one; undefined when the archive has none that can be read. */
async function mainIcon(card: Buffer, archive: Archive, notebook: Notebook): Promise<Buffer | undefined> {
  const icons = assetsOf(card).filter(({ type }) => type === 'icon')
  const { uri } = icons.find(({ name }) => name === 'main') ?? icons[0] ?? {}
  const [, path] = ADDRESS.exec(typeof uri === 'string' ? uri : '') ?? []
  if (path === undefined) return undefined
  if (!archive.names.includes(path)) {
    notebook.note('missing_asset', 'assets', 'The archive lacks the picture that the card names.')
    return undefined
  }
  try {
    return await archive.open(path, LIMITS.zipFileBytes)
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    notebook.note('damaged_asset', 'assets', `The picture in the archive was left out: ${error.message}.`)
    return undefined
  }
}

/** A first look for the picture; the card itself is read with all care later. */
function assetsOf(card: Buffer): Record<string, unknown>[] {
  try {
    const value: unknown = JSON.parse(card.toString('utf8').replace(/^\uFEFF/, ''))
    const data = isObject(value) && isObject(value['data']) ? value['data'] : {}
    return Array.isArray(data['assets']) ? data['assets'].filter(isObject) : []
  } catch {
    return [] // Whoever reads the card says what is wrong with it.
  }
}

function pictureBefore(bytes: Buffer, { startsAt }: Archive): Buffer | undefined {
  return startsAt > 0 && bytes.readUInt16BE(0) === 0xffd8 ? bytes.subarray(0, startsAt) : undefined
}

function noCard({ names }: Archive): AppError {
  const isNested = names.some((name) => name.toLowerCase().endsWith(CARD))
  return new AppError(
    'invalid',
    isNested
      ? 'The archive has its card.json in a folder or under another spelling; pack it again with card.json at the top'
      : 'This is a zip archive without a card.json; a CHARX card has one at the top',
  )
}
