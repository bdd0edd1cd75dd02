import { call, json, REQUEST_MARK, sent } from './calling.ts'
import { fields, list, numeral, text } from './reading.ts'

/** One beside the cards. */
export interface Lorebook {
  id: string
  name: string
  /** How many. */
  entries: number
  /** Null for all characters. */
  characterIds: string[] | null
  updatedAtMs: number
}

export interface LoreEntry {
  label: string
  keys: string[]
  content: string
  /** What is special about it, in a word or two. */
  marks: string[]
}

export interface LoreFinding {
  code: string
  message: string
}

/** What is tested: the whole lore of a character, or a book alone. */
export type LoreSubject = { character: string } | { lorebook: string }

export interface LoreLine {
  entry: string
  isActive: boolean
  reason: string
  tokens: number
}

/** By name. */
export async function listLorebooks(): Promise<Lorebook[]> {
  return list(fields(await json(await call('/lorebooks')))['lorebooks']).map(readLorebook)
}

export async function readLorebookEntries(id: string): Promise<LoreEntry[]> {
  const { book } = fields(await json(await call(`/lorebooks/${encodeURIComponent(id)}`)))
  return list(fields(book)['entries']).map(readLoreEntry)
}

/** Says whose it is; null for all characters. */
export async function attachLorebook(id: string, characterIds: string[] | null): Promise<void> {
  await call(`/lorebooks/${encodeURIComponent(id)}`, { ...sent({ characterIds }), method: 'PATCH' })
}

export async function deleteLorebook(id: string): Promise<void> {
  await call(`/lorebooks/${encodeURIComponent(id)}`, { method: 'DELETE', headers: REQUEST_MARK })
}

/** What is wrong with it, or could be better. */
export async function lintLorebook(lorebook: string): Promise<LoreFinding[]> {
  const answer = fields(await json(await call('/lorebooks/lint', sent({ lorebook }))))
  return list(answer['findings']).map(readFinding)
}

/** As a V3 file. */
export async function exportLorebook(id: string): Promise<File> {
  const response = await call(`/lorebooks/${encodeURIComponent(id)}/export`)
  return new File([await response.blob()], `${id}.json`)
}

/** Which entries these words would call up, and why the others stay away; `dice` says where all dice fall, 0 to 100. */
export async function testLore(
  subject: LoreSubject,
  words: string,
  dice: number | undefined,
): Promise<LoreLine[]> {
  const body = { ...subject, dice, messages: [{ role: 'user', content: words }] }
  const answer = fields(await json(await call('/lorebooks/test', sent(body))))
  return list(answer['trace']).map(readLoreLine)
}

function readLorebook(value: unknown): Lorebook {
  const row = fields(value)
  const { characterIds } = row
  return {
    id: text(row['id']),
    name: text(row['name']) || text(row['id']),
    entries: numeral(row['entries']) ?? 0,
    characterIds: characterIds === null ? null : list(characterIds).map(text).filter(Boolean),
    updatedAtMs: numeral(row['updatedAtMs']) ?? 0,
  }
}

function readLoreEntry(value: unknown, index: number): LoreEntry {
  const entry = fields(value)
  const keys = list(entry['keys']).map(text).filter(Boolean)
  const { probability: chance, useProbability } = fields(entry['extensions'])
  const probability = useProbability === false ? 100 : (numeral(chance) ?? 100)
  return {
    label: text(entry['name']) || text(entry['comment']) || keys[0] || `Entry ${index + 1}`,
    keys,
    content: text(entry['content']),
    marks: [
      entry['enabled'] === false ? 'switched off' : '',
      entry['constant'] === true ? 'always on' : '',
      probability < 100 ? `${probability} %` : '',
    ].filter(Boolean),
  }
}

function readFinding(value: unknown): LoreFinding {
  const finding = fields(value)
  return { code: text(finding['code']), message: text(finding['message']) }
}

function readLoreLine(value: unknown): LoreLine {
  const line = fields(value)
  return {
    entry: text(line['entry']),
    isActive: line['isActive'] === true,
    reason: text(line['reason']),
    tokens: numeral(line['tokens']) ?? 0,
  }
}
