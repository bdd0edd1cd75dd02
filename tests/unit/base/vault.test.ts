import fc from 'fast-check'
import { expect, test } from 'vitest'

import { createVault } from '#base/vault.ts'

const OLD = 'an old secret of at least thirty-two characters'
const NEW = 'a new secret of at least thirty-two characters'
const place = { table: 'webhooks', column: 'secret', row: 'w1' }

test('opens what it sealed, whatever the text, and never seals twice alike', () => {
  const vault = createVault([OLD])
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const sealed = vault.seal(text, place)
      expect(vault.open(sealed, place)).toBe(text)
      expect(vault.seal(text, place)).not.toBe(sealed)
    }),
    { numRuns: 50 },
  )
})

test.each([
  ['row', { ...place, row: 'w2' }],
  ['column', { ...place, column: 'url' }],
  ['table', { ...place, table: 'text_samples' }],
])('refuses a value that was moved to another %s', (_, elsewhere) => {
  const vault = createVault([OLD])
  expect(() => vault.open(vault.seal('whsec', place), elsewhere)).toThrow(/changed or moved/)
})

test('refuses a value in which any bit was changed', () => {
  const vault = createVault([OLD])
  const sealed = vault.seal('whsec', place)
  const from = sealed.lastIndexOf('.') + 1
  const bytes = Buffer.from(sealed.slice(from), 'base64url')
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
    expect(() => vault.open(sealed.slice(0, from) + changed.toString('base64url'), place)).toThrow(
      /changed or moved/,
    )
  }
})

test('a new key seals while the old one still opens; without the old one its values are refused by name', () => {
  const sealed = createVault([OLD]).seal('text', place)
  const both = createVault([NEW, OLD])
  expect([both.open(sealed, place), both.isCurrent(sealed)]).toEqual(['text', false])
  const again = both.seal('text', place)
  expect(both.isCurrent(again)).toBe(true)
  expect(createVault([NEW]).open(again, place)).toBe('text')
  expect(() => createVault([NEW]).open(sealed, place)).toThrow(/TROUPE_FIELD_KEYS/)
})
