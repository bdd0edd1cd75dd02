/** Small documents of every format, honest and otherwise, built byte by byte. */
import { deflateSync } from 'node:zlib'

import { zipOf } from './zip.ts'

/** A Word document of headings ("# …") and paragraphs. */
export function docxOf(lines: readonly string[], title = 'A document'): Buffer {
  const paragraph = (line: string) => {
    const level = /^#+(?= )/.exec(line)?.[0].length
    const style = level === undefined ? '' : `<w:pPr><w:pStyle w:val="Heading${level}"/></w:pPr>`
    const text = escapeXml(level === undefined ? line : line.slice(level + 1))
    return `<w:p>${style}<w:r><w:t xml:space="preserve">${text}</w:t></w:r></w:p>`
  }
  return docxWith(lines.map(paragraph).join(''), title)
}

export function docxWith(body: string, title = 'A document', claimedBytes?: number): Buffer {
  const w = 'http://schemas.openxmlformats.org/wordprocessingml/2006'
  const styles = [1, 2, 3, 4].map(
    (level) =>
      `<w:style w:type="paragraph" w:styleId="Heading${level}"><w:name w:val="heading ${level}"/></w:style>`,
  )
  const content = `<?xml version="1.0"?><w:document xmlns:w="${w}/main"><w:body>${body}</w:body></w:document>`
  const packageOf = 'http://schemas.openxmlformats.org/package/2006'
  const office = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships'
  return zipOf([
    {
      name: '[Content_Types].xml',
      content: `<Types xmlns="${packageOf}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>`,
    },
    {
      name: '_rels/.rels',
      content: `<Relationships xmlns="${packageOf}/relationships"><Relationship Id="r1" Type="${office}/officeDocument" Target="word/document.xml"/></Relationships>`,
    },
    {
      name: 'word/_rels/document.xml.rels',
      content: `<Relationships xmlns="${packageOf}/relationships"><Relationship Id="s1" Type="${office}/styles" Target="styles.xml"/></Relationships>`,
    },
    { name: 'word/styles.xml', content: `<w:styles xmlns:w="${w}/main">${styles.join('')}</w:styles>` },
    { name: 'docProps/core.xml', content: `<x xmlns:dc="d"><dc:title>${escapeXml(title)}</dc:title></x>` },
    { name: 'word/document.xml', content, ...(claimedBytes === undefined ? {} : { claimedBytes }) },
  ])
}

export function epubOf(chapters: readonly string[], title = 'A book'): Buffer {
  const files = chapters.map((_, at) => `c${at}.xhtml`)
  const opf =
    `<package xmlns:dc="d"><metadata><dc:title>${escapeXml(title)}</dc:title></metadata><manifest>` +
    files
      .map((file, at) => `<item id="i${at}" href="${file}" media-type="application/xhtml+xml"/>`)
      .join('') +
    `</manifest><spine>${files.map((_, at) => `<itemref idref="i${at}"/>`).join('')}</spine></package>`
  return zipOf([
    { name: 'mimetype', content: 'application/epub+zip' },
    {
      name: 'META-INF/container.xml',
      content: '<container><rootfiles><rootfile full-path="book/content.opf"/></rootfiles></container>',
    },
    { name: 'book/content.opf', content: opf },
    ...chapters.map((content, at) => ({ name: `book/c${at}.xhtml`, content })),
  ])
}

/** One entry of a page: text at a place, in a size. */
export interface PdfText {
  text: string
  y: number
  size?: number
}

export const pdfOf = (pages: readonly (readonly PdfText[])[], title?: string): Buffer =>
  pdfWith(
    pages.map((page) => Buffer.from(page.map(({ text, y, size = 10 }) => show(text, y, size)).join('\n'))),
    { ...(title !== undefined && { title }) },
  )

const show = (text: string, y: number, size: number): string =>
  `BT /F1 ${size} Tf 72 ${y} Td (${text.replaceAll(/[\\()]/g, (sign) => `\\${sign}`)}) Tj ET`

interface PdfOptions {
  title?: string
  /** Each content stream is packed this many times. */
  layers?: number
  /** Further keys of its dictionary. */
  more?: string
}

/** A PDF whose pages have these content streams. */
export function pdfWith(
  streams: readonly Buffer[],
  { title, layers = 1, more = '' }: PdfOptions = {},
): Buffer {
  const parts: Buffer[] = [Buffer.from('%PDF-1.4\n')]
  const offsets: number[] = []
  const size = () => parts.reduce((sum, part) => sum + part.length, 0)
  const object = (...content: (string | Buffer)[]) => {
    offsets.push(size())
    parts.push(Buffer.from(`${offsets.length} 0 obj\n`), ...content.map((part) => Buffer.from(part)))
    parts.push(Buffer.from('\nendobj\n'))
  }
  const pageOf = (at: number) => 4 + at * 2
  object('<< /Type /Catalog /Pages 2 0 R >>')
  const kids = streams.map((_, at) => `${pageOf(at)} 0 R`).join(' ')
  object(`<< /Type /Pages /Kids [${kids}] /Count ${streams.length} >>`)
  object('<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>')
  for (const [at, stream] of streams.entries()) {
    let packed = stream
    for (let layer = 0; layer < layers; layer++) packed = deflateSync(packed)
    const filter = layers === 0 ? '' : `/Filter [${'/FlateDecode '.repeat(layers)}]`
    object(
      `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${pageOf(at) + 1} 0 R ` +
        '/Resources << /Font << /F1 3 0 R >> >> >>',
    )
    object(`<< /Length ${packed.length} ${filter} ${more} >>\nstream\n`, packed, '\nendstream')
  }
  object(title === undefined ? '<< >>' : `<< /Title (${title}) >>`)
  const startsAt = size()
  const lines = offsets.map((offset) => `${String(offset).padStart(10, '0')} 00000 n \n`).join('')
  const trailer = `<< /Size ${offsets.length + 1} /Root 1 0 R /Info ${offsets.length} 0 R >>`
  parts.push(
    Buffer.from(
      `xref\n0 ${offsets.length + 1}\n0000000000 65535 f \n${lines}trailer\n${trailer}\nstartxref\n${startsAt}\n%%EOF`,
    ),
  )
  return Buffer.concat(parts)
}

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
