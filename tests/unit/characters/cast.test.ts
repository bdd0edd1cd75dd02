/** The shop window: the starter cast must be whole, valid and drawn from its own sources. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

import sharp from 'sharp'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'

import { Card } from '#characters/card.ts'
import { reportMacros } from '#characters/macros.ts'
import { readCard } from '#characters/read.ts'
import { isSlug } from '#library/slug.ts'
import { prefixParts } from '#prompt/prefix.ts'

import { renderAvatar } from '../../../scripts/render-avatars.ts'

const CAST = path.resolve('characters')
const folders = readdirSync(CAST, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
)
const cardOf = (folder: string) => readCard(readFileSync(path.join(CAST, folder, 'card.json')), 'card.json')

const words = z.array(z.string().min(1)).min(1)
const Dialogues = z
  .array(
    z.strictObject({
      name: z.string().min(1),
      turns: words,
      expect: z.strictObject({
        mentions: words.optional(),
        mentions_one_of: words.optional(),
        never_mentions: words.optional(),
        words_at_most: z.number().int().positive().optional(),
        in_character: z.string().optional(),
      }),
    }),
  )
  .min(4)

test('there are four, of four kinds', async () => {
  const cards = await Promise.all(folders.map(cardOf))
  const kinds = cards.map(({ card }) => card.tags[0])
  expect(new Set(kinds)).toEqual(new Set(['Companion', 'Teacher', 'Game master', 'Assistant']))
})

describe.each(folders)('%s', async (folder) => {
  const { card, notes, spec } = await cardOf(folder)

  test('is a V3 card that needs no repair and names its own folder', () => {
    expect([spec, notes]).toEqual(['v3', []])
    expect(Card.safeParse(card).success).toBe(true)
    expect(card.extensions['troupe']).toMatchObject({ id: folder })
    expect(isSlug(folder)).toBe(true)
  })

  test('uses only macros that are replaced', () => {
    const texts = [
      card.description,
      card.scenario,
      card.mes_example,
      card.first_mes,
      ...card.alternate_greetings,
      card.system_prompt,
      card.post_history_instructions,
    ]
    for (const text of texts)
      expect(reportMacros(text, { sentAnew: false })).toEqual({ unknown: [], emptied: [] })
  })

  test('has a first sentence that fits into a picker, a greeting and another one', () => {
    expect(/^.*?[.!?](?=\s|$)/.exec(card.creator_notes)?.[0].length).toBeLessThanOrEqual(90)
    expect(card.first_mes).not.toBe('')
    expect(card.alternate_greetings.length).toBeGreaterThan(0)
  })

  test('leaves most of a context of 4,096 tokens to the conversation', () => {
    const speaker = { characterId: folder, version: 1, card }
    const tokens = prefixParts({ speaker, userName: 'Tom' }, '').reduce((sum, part) => sum + part.tokens, 0)
    expect(tokens).toBeLessThan(2_000)
  })

  test('has the picture that its drawing renders to', async () => {
    const png = await sharp(path.join(CAST, folder, 'avatar.png'))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true })
    const drawn = await sharp(await renderAvatar(readFileSync(path.join(CAST, folder, 'avatar.svg'))))
      .removeAlpha()
      .raw()
      .toBuffer()
    expect([png.info.width, png.info.height]).toEqual([512, 512])
    const different = png.data.reduce(
      (count, value, at) => count + (Math.abs(value - (drawn[at] ?? 0)) > 16 ? 1 : 0),
      0,
    )
    expect(different / png.data.length).toBeLessThan(0.001)
  })

  test('has golden dialogues in the documented form', () => {
    const parsed = Dialogues.safeParse(parse(readFileSync(path.join(CAST, folder, 'dialogues.yaml'), 'utf8')))
    expect(parsed.error).toBeUndefined()
  })
})

test('the game master has a lorebook with constant and keyed entries', async () => {
  const entries = (await cardOf('grimwick')).card.character_book?.entries ?? []
  expect(entries.filter((entry) => entry.constant === true).length).toBeGreaterThanOrEqual(2)
  const keyed = entries.filter((entry) => entry.constant !== true)
  expect(keyed.length).toBeGreaterThanOrEqual(10)
  expect(keyed.every((entry) => entry.keys.length > 0)).toBe(true)
})

test('the working assistant has knowledge files', () => {
  const knowledge = path.join(CAST, 'benno', 'knowledge')
  expect(
    existsSync(knowledge) && readdirSync(knowledge).filter((name) => name.endsWith('.md')).length,
  ).toBeGreaterThanOrEqual(3)
})
