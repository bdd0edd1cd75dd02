/** Files that are taken in, and what is said of each. */
import { ApiError, call, json, parsed, readError, REQUEST_MARK, ROOT } from './calling.ts'
import { fields, list, text } from './reading.ts'

/** A lorebook is text; over a slow line the largest still takes minutes. */
const UPLOAD_TIMEOUT_MS = 600_000

/** The sidecar's own bound for one upload. */
export const UPLOAD_LIMIT_BYTES = 64 * 1024 * 1024

export interface Note {
  code: string
  path: string
  message: string
}

export type ImportStatus = 'created' | 'updated' | 'skipped' | 'failed'

export interface ImportResult {
  status: ImportStatus
  id: string | null
  notes: Note[]
}

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

/** Nobody has it at first, unless it is here already. */
export async function importLorebook(file: File): Promise<ImportResult> {
  const body = new FormData()
  body.append('files', file)
  const init = { method: 'POST', headers: REQUEST_MARK, body }
  return readImportResult(await json(await call('/lorebooks/import', init, UPLOAD_TIMEOUT_MS)))
}

export function readNote(value: unknown): Note {
  const note = fields(value)
  return { code: text(note['code']), path: text(note['path']), message: text(note['message']) }
}

function readImportResult(answer: unknown): ImportResult {
  const result = fields(list(fields(answer)['results'])[0])
  const status =
    (['created', 'updated', 'skipped'] as const).find((known) => known === result['status']) ?? 'failed'
  return { status, id: text(result['id']) || null, notes: list(result['notes']).map(readNote) }
}
