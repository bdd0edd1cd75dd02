import fc from 'fast-check'
import { expect, test } from 'vitest'

import { isSlug, numbered, slugOf } from '#library/slug.ts'

test.each([
  ['Mira Holt', 'mira-holt'],
  ['Zoë Åström', 'zoe-astrom'],
  ['../../etc/passwd', 'etc-passwd'],
  ['CON', 'c-con'],
  ['o3 mini', 'c-o3-mini'],
  ['GPT-5 Turbo', 'c-gpt-5-turbo'],
  ['troupe-task', 'c-troupe-task'],
  ['  --  ', expect.stringMatching(/^character-[0-9a-f]{6}$/)],
  ['灯台守', expect.stringMatching(/^character-[0-9a-f]{6}$/)],
  ['x'.repeat(5_000), 'x'.repeat(48)],
])('%j becomes %j', (name, slug) => {
  expect(slugOf(name)).toEqual(slug)
})

test('every name gives a slug, the same each time, and it may be numbered', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', maxLength: 200 }),
      fc.integer({ min: 2, max: 9_999 }),
      (name, number) => {
        expect(isSlug(slugOf(name))).toBe(true)
        expect(slugOf(name)).toBe(slugOf(name))
        expect(isSlug(numbered(slugOf(name), number))).toBe(true)
      },
    ),
  )
})
