/** DOCX: mammoth makes HTML of it, which goes the way of all HTML. */
import mammoth from 'mammoth'

import { AppError } from '#base/errors.ts'

import type { ParsedDocument } from '../document.ts'

import { parseHtml } from './html.ts'
import type { Reading } from './reader.ts'
import type { Package } from './zip.ts'

export async function readDocx(file: Package, { bytes, note }: Reading): Promise<ParsedDocument> {
  // mammoth unpacks without a bound; what it will unpack is unpacked within bounds before.
  for (const name of file.names) if (/\.(?:xml|rels)$/i.test(name)) await file.read(name)
  const html = await toHtml(bytes)
  const parsed = parseHtml(html, { note })
  return { ...parsed, title: await titleOf(file) }
}

async function toHtml(buffer: Buffer): Promise<string> {
  try {
    const { value } = await mammoth.convertToHtml(
      { buffer },
      {
        // A picture would become a data URL of its whole size.
        convertImage: mammoth.images.imgElement(() => Promise.resolve({ src: '' })),
        externalFileAccess: false,
        includeEmbeddedStyleMap: false,
      },
    )
    return value
  } catch (cause) {
    throw new AppError(
      'invalid',
      'The document is damaged; open it in a word processor and save it as DOCX',
      {
        cause,
      },
    )
  }
}

async function titleOf(file: Package): Promise<string | null> {
  if (!file.has('docProps/core.xml')) return null
  const core = (await file.read('docProps/core.xml')).toString('utf8')
  const title = /<dc:title>([^<]{1,500})<\/dc:title>/.exec(core)?.[1]?.trim()
  return title ? (parseHtml(title, { note: () => undefined }).blocks[0]?.text ?? null) : null
}
