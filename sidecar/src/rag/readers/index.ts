/** All readers by what they read, each loaded when it is needed: a process reads one document. */
import { AppError } from '#base/errors.ts'

import type { ParsedDocument } from '../document.ts'
import { READABLE, sniff, type DocumentKind } from '../kinds.ts'

import type { Reader, Reading } from './reader.ts'
import { openPackage } from './zip.ts'

const READERS: Readonly<Record<Exclude<DocumentKind, 'docx' | 'epub'>, () => Promise<Reader>>> = {
  pdf: async () => (await import('./pdf.ts')).readPdf,
  html: async () => (await import('./html.ts')).readHtml,
  markdown: async () => (await import('./markdown.ts')).readMarkdown,
  text: async () => (await import('./text.ts')).readText,
  csv: async () => (await import('./csv.ts')).readCsv,
  json: async () => (await import('./json.ts')).readJson,
}

/** Throws AppError `invalid` or `too_large` with what to do. */
export async function readDocument(reading: Reading): Promise<ParsedDocument & { kind: DocumentKind }> {
  const kind = sniff(reading.name, reading.bytes)
  if (kind === 'zip') return readPackage(reading)
  const read = await READERS[kind]()
  return { kind, ...(await read(reading)) }
}

async function readPackage(reading: Reading): Promise<ParsedDocument & { kind: DocumentKind }> {
  const file = await openPackage(reading.bytes)
  if (file.has('word/document.xml'))
    return { kind: 'docx', ...(await (await import('./docx.ts')).readDocx(file, reading)) }
  if (file.has('META-INF/container.xml'))
    return { kind: 'epub', ...(await (await import('./epub.ts')).readEpub(file, reading)) }
  if (file.has('xl/workbook.xml'))
    throw new AppError('invalid', 'This is a spreadsheet; save each of its sheets as CSV and add those')
  if (file.has('ppt/presentation.xml'))
    throw new AppError('invalid', 'These are slides; save them as PDF and add that')
  if (file.has('content.xml'))
    throw new AppError('invalid', 'This is an OpenDocument file; save it as DOCX or PDF and add that')
  throw new AppError(
    'invalid',
    `This is an archive, not a document; unpack it and add its files. ${READABLE}`,
  )
}
