/** HTML in one pass that keeps no tree: what a reader sees, in blocks. */
import { Parser } from 'htmlparser2'

import { AppError } from '#base/errors.ts'

import type { Block, ParsedDocument } from '../document.ts'
import { DOCUMENT_LIMITS } from '../limits.ts'
import { findSuspicious } from '../suspicious.ts'

import type { Reader, Reading } from './reader.ts'
import { decode } from './text.ts'

/** What is no text of the page, with all that stands in it. */
const SKIPPED = new Set(
  'script style noscript template svg math iframe object canvas audio video select textarea button nav'.split(
    ' ',
  ),
)
const BLOCKS = new Set(
  (
    'address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form ' +
    'header hr html legend li main ol p pre section summary table tbody td tfoot th thead tr ul'
  ).split(' '),
)
const VOID = new Set('area base br col embed hr img input link meta param source track wbr'.split(' '))

const HIDDEN_STYLE =
  /(?:display:none|visibility:hidden|font-size:0(?![.\d]*[1-9])|opacity:0(?![.\d]*[1-9])|text-indent:-\d{3}|(?:left|top):-\d{4})/
const WHITE = '(?:#fff(?:fff)?|white|rgba?\\(255,255,255[^)]*\\))(?![\\w(])'
const WHITE_TEXT = new RegExp(`(?:^|;)color:${WHITE}`)
const OTHER_GROUND = new RegExp(`(?:^|;)background(?:-color)?:(?!${WHITE})`)

export const readHtml: Reader = (reading) => {
  const declared = /<meta[^>]{0,200}charset\s*=\s*["']?([\w-]{2,40})/i.exec(
    reading.bytes.subarray(0, 4_096).toString('latin1'),
  )?.[1]
  return parseHtml(decode(reading.bytes, declared), reading)
}

/** Fed in parts, so that the refusal of a bomb does not wait for its end. */
const PART = 64 * 1024

/** Throws AppError `invalid` for nesting that no page has. */
export function parseHtml(html: string, { note }: Pick<Reading, 'note'>): ParsedDocument {
  const page = createPage(note)
  const parser = new Parser(page.handler, { lowerCaseTags: true, decodeEntities: true })
  for (let at = 0; at < html.length; at += PART) parser.write(html.slice(at, at + PART))
  parser.end()
  return page.end()
}

interface Element {
  name: string
  isHidden: boolean
}

function createPage(note: Reading['note']) {
  const blocks: Block[] = []
  const stack: Element[] = []
  let [title, text] = ['', '']
  let [hiddenElements, skipping, pre] = [0, 0, 0]
  let isTitle = false
  /** Cells of the row that is being read. */
  let cells: string[] | undefined

  const kind = (): Pick<Block, 'kind' | 'level'> => {
    for (let at = stack.length - 1; at >= 0; at--) {
      const name = stack[at]?.name ?? ''
      if (/^h[1-6]$/.test(name)) return { kind: 'heading', level: Number(name[1]) }
      if (name === 'li' || name === 'pre') return { kind: 'line' }
    }
    return { kind: 'paragraph' }
  }
  function flush(): void {
    const whole = pre > 0 ? text.replace(/^\n/, '').trimEnd() : text.replaceAll(/\s+/g, ' ').trim()
    text = ''
    if (whole === '') return
    if (cells !== undefined) {
      cells.push(whole)
      return
    }
    const of = kind()
    // The mark of Sphinx behind a heading that links to itself.
    const shown = of.kind === 'heading' ? whole.replace(/\s*¶$/, '') : whole
    if (shown !== '') blocks.push({ ...of, text: shown })
  }
  const endRow = () => {
    flush()
    if (cells !== undefined && cells.length > 0) blocks.push({ kind: 'row', text: cells.join(' | ') })
    cells = undefined
  }

  const handler = {
    onopentag(name: string, attributes: Record<string, string>) {
      if (name === 'br') text += pre > 0 ? '\n' : ' '
      if (name === 'img' && skipping === 0) text += ` ${attributes['alt'] ?? ''} `
      if (isBlock(name)) flush()
      if (VOID.has(name)) return
      const isHidden = isHiding(attributes)
      if (isHidden) hiddenElements += 1
      stack.push({ name, isHidden: isHidden || SKIPPED.has(name) })
      if (stack.length > DOCUMENT_LIMITS.nesting) throw tooDeep()
      if (isHidden || SKIPPED.has(name)) skipping += 1
      if (name === 'pre') pre += 1
      if (name === 'title') isTitle = title === '' && skipping === 0
      if (name === 'tr') cells = []
    },
    ontext(more: string) {
      if (isTitle) title += more
      else if (skipping === 0) text += more
    },
    oncomment(comment: string) {
      const found = findSuspicious(comment)
      if (found !== undefined)
        note({
          code: 'hidden_instructions',
          message: `A comment that no reader sees was left out: "${found}"`,
        })
    },
    onclosetag(name: string) {
      if (VOID.has(name)) return
      if (name === 'tr') endRow()
      else if (isBlock(name)) flush()
      if (name === 'title') isTitle = false
      const closed = stack.pop()
      if (closed?.isHidden === true) skipping -= 1
      if (closed?.name === 'pre') pre -= 1
    },
  }
  return {
    handler,
    end(): ParsedDocument {
      endRow()
      if (hiddenElements > 0)
        note({
          code: 'hidden_text',
          message: `${hiddenElements} pieces that a reader would not see were left out.`,
        })
      return { title: title.replaceAll(/\s+/g, ' ').trim() || null, blocks }
    },
  }
}

const isBlock = (name: string): boolean => BLOCKS.has(name) || /^h[1-6]$/.test(name)

function isHiding(attributes: Record<string, string>): boolean {
  if ('hidden' in attributes) return true
  const style = attributes['style']?.toLowerCase().replaceAll(/\s+/g, '')
  if (style === undefined || style === '') return false
  return HIDDEN_STYLE.test(style) || (WHITE_TEXT.test(style) && !OTHER_GROUND.test(style))
}

const tooDeep = () =>
  new AppError(
    'invalid',
    `The page is nested deeper than ${DOCUMENT_LIMITS.nesting} elements; save it anew from a browser, or as text`,
  )
