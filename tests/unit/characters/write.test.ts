import { describe, expect, test } from 'vitest'

import { readCard } from '#characters/read.ts'
import { BACKFILL_WARNING } from '#characters/salvage.ts'
import { writeCard } from '#characters/write.ts'

import { base64Of, pngChunk, pngOf, textChunk } from '../../support/png.ts'
import { sampleCard, sampleEntry } from '../../support/samples.ts'

const OPTIONS = { modifiedAtSeconds: 5 }
const json = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>

/** The text chunks of a PNG in the order in which they stand, and where the pixels begin. */
function textsOf(bytes: Uint8Array): {
  keywords: string[]
  texts: Record<string, unknown>
  pixelsBehind: boolean
} {
  const buffer = Buffer.from(bytes)
  const keywords: string[] = []
  const texts: Record<string, unknown> = {}
  let pixelsAt = Infinity
  for (let at = 8; at < buffer.length; at += 12 + buffer.readUInt32BE(at)) {
    const type = buffer.toString('latin1', at + 4, at + 8)
    if (type === 'IDAT') pixelsAt = Math.min(pixelsAt, at)
    if (type !== 'tEXt') continue
    const data = buffer.subarray(at + 8, at + 8 + buffer.readUInt32BE(at))
    const nul = data.indexOf(0)
    const keyword = data.toString('latin1', 0, nul)
    keywords.push(keyword)
    texts[keyword] = JSON.parse(Buffer.from(data.toString('latin1', nul + 1), 'base64').toString())
    expect(at).toBeLessThan(pixelsAt)
  }
  return { keywords, texts, pixelsBehind: pixelsAt < Infinity }
}

describe('JSON', () => {
  test('is V3, with the date of the change', () => {
    expect(json(writeCard(sampleCard(), 'json', OPTIONS))).toMatchObject({
      spec: 'chara_card_v3',
      spec_version: '3.0',
      data: { name: 'Mira Holt', modification_date: 5 },
    })
  })

  test('equal cards give equal bytes', () => {
    expect(writeCard(sampleCard(), 'json', OPTIONS)).toEqual(writeCard(sampleCard(), 'json', OPTIONS))
  })
})

test('YAML that could not be read back is not written', () => {
  const card = sampleCard({ description: 'x'.repeat(1024 * 1024) })
  expect(() => writeCard(card, 'yaml', OPTIONS)).toThrow(/export it as JSON/)
})

describe('PNG', () => {
  const old = pngOf(
    textChunk('chara', base64Of({ name: 'Old', description: '' })),
    textChunk('Comment', 'kept'),
    pngChunk('IDAT', 'pixels'),
  )

  test('carries V3 and a V2 copy before the pixels, and no older card', () => {
    const card = sampleCard({
      nickname: 'M',
      character_book: { extensions: {}, entries: [sampleEntry({ content: '@@depth 2\nThe lamp.' })] },
    })
    const bytes = writeCard(card, 'png', {
      ...OPTIONS,
      picture: pngOf(textChunk('ccv3', base64Of({})), pngChunk('IDAT', 'pixels')),
    })
    const { keywords, texts, pixelsBehind } = textsOf(bytes)
    expect(keywords).toEqual(['chara', 'ccv3'])
    expect(pixelsBehind).toBe(true)
    expect(texts['chara']).toMatchObject({
      spec: 'chara_card_v2',
      data: { character_book: { entries: [{ content: 'The lamp.' }] } },
    })
    expect(JSON.stringify(texts['chara'])).toContain(BACKFILL_WARNING)
    expect(JSON.stringify(texts['chara'])).not.toContain('nickname')
    expect(texts['ccv3']).toMatchObject({
      spec: 'chara_card_v3',
      data: { nickname: 'M', creator_notes: 'A calm keeper.' },
    })
  })

  test('the V2 copy is read without its warning', async () => {
    const { texts } = textsOf(writeCard(sampleCard(), 'png', { ...OPTIONS, picture: pngOf() }))
    const { card } = await readCard(Buffer.from(JSON.stringify(texts['chara'])), 'x.json')
    expect(card.creator_notes).toBe(sampleCard().creator_notes)
  })

  test('keeps what else the picture says', async () => {
    expect(Buffer.from(writeCard(sampleCard(), 'png', { ...OPTIONS, picture: old })).includes('kept')).toBe(
      true,
    )
    expect(
      (await readCard(writeCard(sampleCard(), 'png', { ...OPTIONS, picture: old }), 'x')).card.name,
    ).toBe('Mira Holt')
  })

  test('needs a PNG', () => {
    expect(() => writeCard(sampleCard(), 'png', { ...OPTIONS, picture: Buffer.from('GIF89a') })).toThrow(
      /PNG picture/,
    )
  })
})
