import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { CHUNK_OPTIONS, chunkDocument, documentText, plainBlocks } from '#rag/chunk.ts'
import type { Block } from '#rag/document.ts'

const sentence = (about: string, words = 12) => `${'The '.concat(`${about} `.repeat(words)).trim()}. `
const paragraph = (about: string, sentences = 4): Block => ({
  kind: 'paragraph',
  text: sentence(about).repeat(sentences).trim(),
})
const heading = (text: string, level = 1): Block => ({ kind: 'heading', text, level })

const cut = (blocks: Block[], title: string | null = null) => chunkDocument({ title, blocks })

describe('a chunk', () => {
  test('says where it stands: title, headings and page', () => {
    const chunks = cut(
      [
        heading('House rules'),
        { ...paragraph('rule', 10), page: 3 },
        heading('Fire', 2),
        { ...paragraph('fire', 10), page: 4 },
        heading('Cats'),
        { ...paragraph('cat', 10), page: 9 },
      ],
      'Handbook',
    )
    expect(chunks.map(({ header, page }) => [header, page])).toEqual([
      ['Handbook › House rules', null],
      ['Handbook › House rules › Fire', null],
      ['Handbook › Cats', null],
    ])
    expect(chunks.map(({ text }) => text.split('\n')[0])).toEqual(['House rules', 'Fire', 'Cats'])
  })

  test('that begins in the middle of a paragraph brings the sentence which the paragraph begins with', () => {
    const first = 'The lamp room is on the left.'
    const [, second] = cut([{ kind: 'paragraph', text: `${first} ${sentence('wick').repeat(30)}` }], 'Lamps')
    expect(second?.header).toBe(`Lamps › ${first}`)
  })

  test('holds several short sections, and none ends with a heading', () => {
    const short = cut([heading('One'), paragraph('a', 1), heading('Two'), paragraph('b', 1)])
    expect(short).toHaveLength(1)
    const blocks = Array.from({ length: 30 }, (_, at) => [heading(`Section ${at}`, 2), paragraph('note', 3)])
    for (const { text } of cut(blocks.flat())) expect(text).not.toMatch(/(^|\n)Section \d+$/)
  })

  test('begins with the end of the one before it, unless a heading stands between', () => {
    const [first, second] = cut([paragraph('sail', 60)])
    if (first === undefined || second === undefined) throw new Error('Expected two chunks')
    expect(second.charStart).toBeLessThan(first.charEnd)
    expect(first.charEnd - second.charStart).toBeLessThanOrEqual(CHUNK_OPTIONS.overlap)
    const [before, after] = cut([paragraph('sail', 14), heading('Next'), paragraph('rope', 14)])
    expect(after?.charStart).toBeGreaterThan(before?.charEnd ?? Infinity)
  })

  test('of a script without spaces is half as long, and ends where a sentence ends', () => {
    const chinese = cut([{ kind: 'paragraph', text: '港口的灯在夜里一直亮着。'.repeat(200) }])
    // Its punctuation counts once.
    for (const { text } of chinese) expect(text.length).toBeLessThanOrEqual(525)
    for (const { text } of chinese) expect(text.endsWith('。')).toBe(true)
  })

  test('of a table holds whole rows, each once', () => {
    const rows = Array.from({ length: 100 }, (_, at): Block => ({
      kind: 'row',
      text: `id: ${at}\nname: row ${at}`,
    }))
    const lines = cut(rows).flatMap(({ text }) => text.split('\n'))
    expect(lines).toEqual(rows.flatMap(({ text }) => text.split('\n')))
  })
})

const anyText = fc.oneof(
  fc.lorem({ maxCount: 60, mode: 'sentences' }),
  fc.string({ unit: 'grapheme', maxLength: 3_000 }),
  fc.string({ unit: fc.constantFrom('字', '。', 'あ', ' '), maxLength: 3_000 }),
  fc.string({ unit: fc.constantFrom('x', '😀', '\n'), maxLength: 3_000 }),
)
const anyBlock: fc.Arbitrary<Block> = fc.oneof(
  fc.record({ kind: fc.constantFrom('paragraph' as const, 'line' as const, 'row' as const), text: anyText }),
  fc.record({ kind: fc.constant('heading' as const), text: anyText, level: fc.integer({ min: 1, max: 6 }) }),
)

const weight = (text: string) =>
  text.length + (text.match(/[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/gu)?.length ?? 0)

test('whatever the document is: every letter is in a chunk, none is too long, offsets are true, no letter is cut in two', () => {
  fc.assert(
    fc.property(fc.array(anyBlock, { maxLength: 12 }), (blocks) => {
      const text = documentText(blocks)
      const chunks = chunkDocument({ title: null, blocks })
      let covered = 0
      for (const [at, chunk] of chunks.entries()) {
        expect(chunk.ordinal).toBe(at)
        expect(chunk.text).not.toBe('')
        expect(chunk.text).toBe(text.slice(chunk.charStart, chunk.charEnd))
        // Separators between blocks are not weighed.
        expect(weight(chunk.text.replaceAll('\n', ''))).toBeLessThanOrEqual(CHUNK_OPTIONS.size)
        expect(chunk.text).not.toMatch(/\p{Surrogate}/u)
        expect(text.slice(covered, Math.max(covered, chunk.charStart)).trim()).toBe('')
        covered = chunk.charEnd
      }
      expect(text.slice(covered).trim()).toBe('')
    }),
    { numRuns: 300 },
  )
})

test('a text without marks falls into its paragraphs', () => {
  expect(plainBlocks('One\ntwo\n\n \n\nThree\n')).toEqual([
    { kind: 'paragraph', text: 'One\ntwo' },
    { kind: 'paragraph', text: 'Three' },
  ])
})
