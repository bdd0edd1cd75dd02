/**
 * The admin API as the pages see it. What arrives is read field by field: a missing field becomes an empty value, so that
 * an older or newer sidecar shows less instead of nothing.
 */

const ROOT = `${import.meta.env.BASE_URL}api`

/** Sent with every change: a foreign site cannot add a header of its own without our consent. */
const REQUEST_MARK = { 'x-troupe-request': '1' }

/** A list or a deletion that takes longer than this has stalled. Uploads have no such bound: they show their progress. */
const ANSWER_TIMEOUT_MS = 20_000

/** A lorebook is text; over a slow line the largest still takes minutes. */
const UPLOAD_TIMEOUT_MS = 600_000

/** The sidecar's own bound for one upload. */
export const UPLOAD_LIMIT_BYTES = 64 * 1024 * 1024

export interface Note {
  code: string
  path: string
  message: string
}

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

export interface Version {
  number: number
  /** Why it was made, or empty. */
  note: string
  createdBy: string
  createdAtMs: number
  /** Null for one that never answered. */
  publishedAtMs: number | null
}

/** Where two versions of a card differ; what one of them has not is empty. */
export interface Difference {
  path: string
  before: string
  after: string
}

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

export interface Visitor {
  name: string
  openWebUiUrl: string | null
}

export type ImportStatus = 'created' | 'updated' | 'skipped' | 'failed'

export interface ImportResult {
  status: ImportStatus
  id: string | null
  notes: Note[]
}

export type ExportFormat = 'json' | 'yaml' | 'png' | 'charx' | 'original'

/** Anything but the wished answer. The message can be shown as it is; `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  readonly status: number
  readonly openWebUiUrl: string | null

  constructor(message: string, status: number, openWebUiUrl: string | null = null) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.openWebUiUrl = openWebUiUrl
  }
}

/** Begins a session. Throws ApiError with status 401 when nobody is signed in at Open WebUI, 403 when the person has no role here. */
export async function beginSession(): Promise<Visitor> {
  const body = fields(await json(await call('/session', { method: 'POST', headers: REQUEST_MARK })))
  return { name: text(fields(body['user'])['name']), openWebUiUrl: webAddress(body['openWebUiUrl']) }
}

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

/** Newest first. */
export async function readVersions(id: string): Promise<Version[]> {
  const { versions } = fields(await json(await call(`/characters/${encodeURIComponent(id)}/versions`)))
  return list(versions).map(readVersion).toReversed()
}

/** Lets a version answer: a newer one is published, an older one rolled back to. */
export async function answerWith(id: string, version: number, how: 'publish' | 'rollback'): Promise<void> {
  await call(`/characters/${encodeURIComponent(id)}/${how}`, sent({ version }))
}

export async function readDifferences(id: string, from: number, to: number): Promise<Difference[]> {
  const answer = await call(`/characters/${encodeURIComponent(id)}/diff?from=${from}&to=${to}`)
  return list(fields(await json(answer))['differences']).map(readDifference)
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

/** Nobody has it at first, unless it is here already. */
export async function importLorebook(file: File): Promise<ImportResult> {
  const body = new FormData()
  body.append('files', file)
  const init = { method: 'POST', headers: REQUEST_MARK, body }
  return readImportResult(await json(await call('/lorebooks/import', init, UPLOAD_TIMEOUT_MS)))
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

interface ImportOptions {
  /** Called with the share that has left this machine, 0 to 1. */
  onSent: (share: number) => void
  signal: AbortSignal
}

/** Sends one card. XMLHttpRequest, because fetch does not tell how much of a body has been sent. */
export function importCard(file: File, { onSent, signal }: ImportOptions): Promise<ImportResult> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    const body = new FormData()
    body.append('files', file)
    request.upload.onprogress = ({ loaded, total }) => onSent(total === 0 ? 0 : loaded / total)
    request.upload.onload = () => onSent(1)
    request.onerror = () => reject(new ApiError('The connection broke before the card was taken in.', 0))
    request.onabort = () => reject(new ApiError('Stopped.', 0))
    request.onload = () => {
      const answer = parsed(request.responseText)
      if (request.status === 200) resolve(readImportResult(answer))
      else reject(readError(answer, request.status))
    }
    signal.addEventListener('abort', () => request.abort())
    request.open('POST', `${ROOT}/characters/import`)
    for (const [name, value] of Object.entries(REQUEST_MARK)) request.setRequestHeader(name, value)
    request.send(body)
  })
}

// -- calling ----------------------------------------------------------------------------------------------------------

async function call(path: string, init: RequestInit = {}, timeoutMs = ANSWER_TIMEOUT_MS): Promise<Response> {
  let response: Response
  try {
    response = await fetch(ROOT + path, { ...init, signal: AbortSignal.timeout(timeoutMs) })
  } catch {
    // A browser does not tell a page why; that there was no answer is all there is to know.
    throw new ApiError('Troupe does not answer.', 0)
  }
  if (!response.ok) throw readError(parsed(await response.text()), response.status)
  return response
}

const sent = (body: object): RequestInit => ({
  method: 'POST',
  headers: { ...REQUEST_MARK, 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

async function json(response: Response): Promise<unknown> {
  const value = parsed(await response.text())
  if (value === undefined)
    throw new ApiError('Something else than Troupe answered at this address.', response.status)
  return value
}

function readError(body: unknown, status: number): ApiError {
  const message = text(fields(fields(body)['error'])['message'])
  return new ApiError(
    message || `Troupe could not answer (status ${status}).`,
    status,
    webAddress(fields(body)['openWebUiUrl']),
  )
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown
  } catch {
    return undefined // not JSON: a page of some proxy, which says nothing to us
  }
}

// -- reading ----------------------------------------------------------------------------------------------------------

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

function readNote(value: unknown): Note {
  const note = fields(value)
  return { code: text(note['code']), path: text(note['path']), message: text(note['message']) }
}

function readVersion(value: unknown): Version {
  const row = fields(value)
  return {
    number: numeral(row['number']) ?? 0,
    note: text(row['note']),
    createdBy: text(row['createdBy']),
    createdAtMs: numeral(row['createdAtMs']) ?? 0,
    publishedAtMs: numeral(row['publishedAtMs']),
  }
}

function readDifference(value: unknown): Difference {
  const { path, before, after } = fields(value)
  return { path: text(path), before: shown(before), after: shown(after) }
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)

function readLoreLine(value: unknown): LoreLine {
  const line = fields(value)
  return {
    entry: text(line['entry']),
    isActive: line['isActive'] === true,
    reason: text(line['reason']),
    tokens: numeral(line['tokens']) ?? 0,
  }
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

function readImportResult(answer: unknown): ImportResult {
  const result = fields(list(fields(answer)['results'])[0])
  const status =
    (['created', 'updated', 'skipped'] as const).find((known) => known === result['status']) ?? 'failed'
  return { status, id: text(result['id']) || null, notes: list(result['notes']).map(readNote) }
}

const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? { ...value } : {}
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
const text = (value: unknown): string => (typeof value === 'string' ? value : '')
const numeral = (value: unknown): number | null => (typeof value === 'number' ? value : null)

/** Only http: an address with another scheme must not become a link. */
function webAddress(value: unknown): string | null {
  const address = text(value)
  return URL.canParse(address) && /^https?:$/.test(new URL(address).protocol) ? address : null
}
