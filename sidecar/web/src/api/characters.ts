import { call, json, REQUEST_MARK, ROOT } from './calling.ts'
import { readNote, type Note } from './imports.ts'
import { fields, list, numeral, text } from './reading.ts'

export interface Character {
  /** Slug and model id. */
  id: string
  name: string
  tagline: string
  tags: string[]
  greetings: string[]
  publishedVersion: number | null
  latestVersion: number
  pictureHash: string | null
  notes: Note[]
  /** What the character adds to every request; null while nothing is published. */
  promptTokens: number | null
  createdAtMs: number
  updatedAtMs: number
}

export type ExportFormat = 'json' | 'yaml' | 'png' | 'charx' | 'original'

/** All of them, page by page: searching and filtering happen here. */
export async function listCharacters(): Promise<Character[]> {
  const characters: Character[] = []
  let cursor = ''
  do {
    const page = fields(await json(await call(`/characters?limit=500${cursor}`)))
    characters.push(...list(page['characters']).map(readCharacter))
    const next = text(page['nextCursor'])
    cursor = next === '' ? '' : `&cursor=${encodeURIComponent(next)}`
  } while (cursor !== '')
  return characters
}

/** The greetings in full; the list has their beginnings only. */
export async function readGreetings(id: string): Promise<string[]> {
  const { card } = fields(await json(await call(`/characters/${encodeURIComponent(id)}`)))
  const { first_mes: first, alternate_greetings: others } = fields(card)
  return [text(first), ...list(others).map(text)].filter((greeting) => greeting.trim() !== '')
}

/** Out of the trash. */
export async function restoreCharacter(id: string): Promise<void> {
  await call(`/characters/${encodeURIComponent(id)}/restore`, { method: 'POST', headers: REQUEST_MARK })
}

/** Into the trash. */
export async function deleteCharacter(id: string): Promise<void> {
  await call(`/characters/${encodeURIComponent(id)}`, { method: 'DELETE', headers: REQUEST_MARK })
}

/** The character as a file, named by the sidecar. */
export async function exportCharacter(id: string, format: ExportFormat): Promise<File> {
  const response = await call(`/characters/${encodeURIComponent(id)}/export?format=${format}`)
  const named = /filename\*=UTF-8''([^;]+)/i.exec(response.headers.get('content-disposition') ?? '')?.[1]
  const name =
    named === undefined ? `${id}.${format === 'original' ? 'card' : format}` : decodeURIComponent(named)
  return new File([await response.blob()], name)
}

export const pictureUrl = (hash: string, widthPixels: 96 | 256 | 512): string =>
  `${ROOT}/pictures/${encodeURIComponent(hash)}?width=${widthPixels}`

function readCharacter(value: unknown): Character {
  const row = fields(value)
  return {
    id: text(row['id']),
    name: text(row['name']) || text(row['id']),
    tagline: text(row['tagline']),
    tags: list(row['tags']).map(text).filter(Boolean),
    greetings: list(row['greetings']).map(text).filter(Boolean),
    publishedVersion: numeral(row['publishedVersion']),
    latestVersion: numeral(row['latestVersion']) ?? 1,
    pictureHash: text(row['pictureHash']) || null,
    notes: list(row['notes']).map(readNote),
    promptTokens: numeral(row['promptTokens']),
    createdAtMs: numeral(row['createdAtMs']) ?? 0,
    updatedAtMs: numeral(row['updatedAtMs']) ?? 0,
  }
}
