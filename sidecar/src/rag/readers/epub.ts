/** EPUB: the chapters in reading order, each through the HTML path. */
import path from 'node:path'

import { Parser } from 'htmlparser2'

import { AppError } from '#base/errors.ts'

import type { Block, ParsedDocument } from '../document.ts'

import { parseHtml } from './html.ts'
import type { Reading } from './reader.ts'
import { decode } from './text.ts'
import type { Package } from './zip.ts'

const CONTAINER = 'META-INF/container.xml'

export async function readEpub(book: Package, { progress, note }: Reading): Promise<ParsedDocument> {
  if (book.has('META-INF/encryption.xml') && book.has('META-INF/rights.xml'))
    throw new AppError(
      'invalid',
      'The book is protected against copying; only books without that can be read',
    )
  const opfName = attributesOf(decode(await book.read(CONTAINER)), 'rootfile')[0]?.['full-path']
  if (opfName === undefined) throw noBook()
  const opf = decode(await book.read(opfName))
  const chapters = chaptersOf(opf, path.posix.dirname(opfName)).filter((name) => book.has(name))
  if (chapters.length === 0) throw noBook()
  const blocks: Block[] = []
  for (const [at, name] of chapters.entries()) {
    const chapter = parseHtml(decode(await book.read(name)), { note })
    blocks.push(...chapter.blocks)
    progress(at + 1, chapters.length)
  }
  return { title: textOf(opf, 'dc:title'), blocks }
}

function chaptersOf(opf: string, folder: string): string[] {
  const files = new Map(attributesOf(opf, 'item').map((item) => [item['id'], item]))
  return attributesOf(opf, 'itemref')
    .map((reference) => files.get(reference['idref']))
    .filter((item) => item?.['media-type']?.includes('html') === true && item['properties'] !== 'nav')
    .map((item) => path.posix.join(folder, decodeURI(item?.['href'] ?? '')))
}

function attributesOf(xml: string, element: string): Record<string, string>[] {
  const found: Record<string, string>[] = []
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (name === element) found.push(attributes)
      },
    },
    { xmlMode: true },
  )
  parser.end(xml)
  return found
}

function textOf(xml: string, element: string): string | null {
  let [text, isInside] = ['', false]
  const parser = new Parser(
    {
      onopentag: (name) => (isInside = name === element && text === ''),
      ontext(more) {
        if (isInside) text += more
      },
      onclosetag: () => (isInside = false),
    },
    { xmlMode: true },
  )
  parser.end(xml)
  return text.trim() || null
}

const noBook = () => new AppError('invalid', 'The EPUB names no chapters; take the original file')
