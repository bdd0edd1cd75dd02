/** What a file is: by its bytes, and by its name where bytes do not tell. */
import { AppError } from '#base/errors.ts'

export const DOCUMENT_KINDS = ['pdf', 'docx', 'epub', 'html', 'markdown', 'text', 'csv', 'json'] as const
export type DocumentKind = (typeof DOCUMENT_KINDS)[number]

const BY_ENDING: Readonly<Record<string, DocumentKind>> = {
  pdf: 'pdf',
  docx: 'docx',
  epub: 'epub',
  html: 'html',
  htm: 'html',
  xhtml: 'html',
  md: 'markdown',
  markdown: 'markdown',
  txt: 'text',
  text: 'text',
  log: 'text',
  rst: 'text',
  adoc: 'text',
  org: 'text',
  csv: 'csv',
  tsv: 'csv',
  json: 'json',
  jsonl: 'json',
  ndjson: 'json',
}

const MEDIA_TYPES: Readonly<Record<DocumentKind, string>> = {
  pdf: 'application/pdf',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  epub: 'application/epub+zip',
  html: 'text/html',
  markdown: 'text/markdown',
  text: 'text/plain',
  csv: 'text/csv',
  json: 'application/json',
}

export const mediaTypeOf = (kind: DocumentKind): string => MEDIA_TYPES[kind]

/** By the name alone; undefined when no reader takes files of this name. */
export function kindOfName(name: string): DocumentKind | undefined {
  const ending = /\.([a-z0-9]{1,10})$/i.exec(name)?.[1]?.toLowerCase()
  return ending === undefined ? undefined : BY_ENDING[ending]
}

export const READABLE = 'PDF, DOCX, EPUB, HTML, Markdown, text, CSV and JSON can be read'

const ZIP = 'PK\x03\x04'
const OLD_OFFICE = '\xD0\xCF\x11\xE0'

/**
 * `zip` is one of the formats that are zip archives: which one, its directory tells. Throws AppError `invalid` with what to
 * do for what no reader takes.
 */
export function sniff(name: string, bytes: Buffer): Exclude<DocumentKind, 'docx' | 'epub'> | 'zip' {
  const head = bytes.subarray(0, 1_024).toString('latin1')
  // The specification lets a PDF begin within the first 1,024 bytes.
  if (head.includes('%PDF-')) return 'pdf'
  if (head.startsWith(ZIP)) return 'zip'
  if (head.startsWith(OLD_OFFICE))
    throw new AppError('invalid', 'This is a file of an old Office program; save it as DOCX or PDF')
  if (head.startsWith('{\\rtf')) throw new AppError('invalid', 'This is RTF; save it as DOCX or PDF')
  const byName = kindOfName(name)
  if (byName === 'pdf' || byName === 'docx' || byName === 'epub')
    throw new AppError(
      'invalid',
      `The file is called ${byName.toUpperCase()}, but holds something else; take the original file`,
    )
  if (isBinary(bytes)) throw new AppError('invalid', `This is no document that can be read: ${READABLE}`)
  if (byName === undefined || byName === 'text')
    return /^\s*(?:<!doctype html|<html[\s>])/i.test(head) ? 'html' : 'text'
  return byName
}

/** Text has no NUL, except in UTF-16 and UTF-32, which say so in their first bytes. */
function isBinary(bytes: Buffer): boolean {
  const hasMark = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)
  return !hasMark && bytes.subarray(0, 8_192).includes(0)
}
