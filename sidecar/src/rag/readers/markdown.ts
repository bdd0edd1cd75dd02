/** Markdown by its lines: headings, lists, tables and code. What it looks like when rendered is no matter here. */
import type { Block, ParsedDocument } from '../document.ts'

import type { Reader, Reading } from './reader.ts'
import { decode } from './text.ts'

export const readMarkdown: Reader = (reading) => parseMarkdown(decode(reading.bytes), reading)

export function parseMarkdown(source: string, { note }: Pick<Reading, 'note'>): ParsedDocument {
  const { title, body } = withoutFrontMatter(source.replaceAll(/\r\n?/g, '\n'))
  const blocks: Block[] = []
  let open: string[] = []
  const flush = () => {
    if (open.length > 0) blocks.push({ kind: 'paragraph', text: inline(open.join('\n').trim()) })
    open = []
  }
  let fence: string | undefined
  let hidden = 0
  const seen = withoutHidden(body, () => hidden++)
  for (const line of seen.split('\n')) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1]
    if (fence !== undefined) {
      if (mark?.startsWith(fence) === true) fence = undefined
      else blocks.push({ kind: 'line', text: line })
      continue
    }
    if (mark !== undefined) {
      flush()
      fence = mark
      continue
    }
    const heading = /^ {0,3}(#{1,6})[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$/.exec(line)
    if (heading !== null) {
      flush()
      const [, marks = '', text = ''] = heading
      blocks.push({ kind: 'heading', level: marks.length, text: inline(text) })
    } else if (open.length > 0 && /^ {0,3}(?:=+|-+)[ \t]*$/.test(line)) {
      blocks.push({ kind: 'heading', level: line.includes('=') ? 1 : 2, text: inline(open.join(' ')) })
      open = []
    } else if (line.trim() === '') flush()
    else if (/^[ \t]*\|/.test(line)) {
      flush()
      if (!/^[\s|:-]+$/.test(line)) blocks.push({ kind: 'row', text: inline(cellsOf(line)) })
    } else if (/^[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]/.test(line)) {
      flush()
      blocks.push({ kind: 'line', text: inline(line.trim()) })
    } else if (isContinued(blocks, open, line)) extend(blocks, line)
    else open.push(line.replace(/^[ \t]*>[ \t]?/, ''))
  }
  flush()
  if (hidden > 0)
    note({ code: 'hidden_text', message: `${hidden} pieces that a reader would not see were left out.` })
  const [first] = blocks
  const ownTitle = first?.kind === 'heading' && first.level === 1 ? first.text : null
  return { title: title ?? ownTitle, blocks: blocks.filter((block) => block.text.trim() !== '') }
}

/** An indented line right after an item of a list belongs to it. */
const isContinued = (blocks: readonly Block[], open: readonly string[], line: string): boolean =>
  open.length === 0 && /^(?: {2,}|\t)/.test(line) && blocks.at(-1)?.kind === 'line'

function extend(blocks: Block[], line: string): void {
  const last = blocks.pop()
  if (last !== undefined) blocks.push({ ...last, text: `${last.text} ${inline(line.trim())}` })
}

function withoutFrontMatter(source: string): { title: string | null; body: string } {
  const found = /^\uFEFF?---\n([^]{0,20000}?)\n(?:---|\.\.\.)(?:\n|$)/.exec(source)
  if (found === null) return { title: null, body: source }
  const title = /^title:[ \t]*(.+)$/m.exec(found[1] ?? '')?.[1]?.trim()
  return { title: title?.replace(/^(['"])(.*)\1$/, '$2') || null, body: source.slice(found[0].length) }
}

const HIDING =
  /<([a-z][a-z0-9]*)\b[^<>]{0,500}?(?:\shidden\b|style\s*=\s*["'][^"'<>]{0,300}?(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0|opacity\s*:\s*0(?![.\d])))[^<>]{0,500}>/gi

/** Comments, comments in the form of links, and elements that their style hides; code is not spared, since it may be rendered. */
function withoutHidden(source: string, count: () => void): string {
  const drop = () => {
    count()
    return ''
  }
  const bare = source.replaceAll(/<!--[^]*?(?:-->|$)/g, drop).replaceAll(/^ {0,3}\[\/\/\]:[ \t]*#.*$/gm, drop)
  let [kept, at] = ['', 0]
  for (const { 0: tag, 1: element = '', index } of bare.matchAll(HIDING)) {
    if (index < at) continue
    const end = bare.toLowerCase().indexOf(`</${element.toLowerCase()}`, index + tag.length)
    kept += bare.slice(at, index)
    at = end < 0 ? bare.length : end + element.length + 3
    count()
  }
  return kept + bare.slice(at)
}

const cellsOf = (line: string): string =>
  line
    .trim()
    .replaceAll(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim())
    .join(' | ')

/** Pictures become their description: an address in them is loaded by whoever shows the answer. */
const inline = (text: string): string =>
  text
    .replaceAll(/!\[([^\]\n]{0,500})\](?:\([^)\n]{0,2000}\)|\[[^\]\n]{0,200}\])/g, '$1')
    .replaceAll(/<img\b[^<>]{0,2000}>/gi, '')
    .replaceAll(/(\*\*|__)(?=\S)([^\n]{1,500}?\S)\1/g, '$2')
