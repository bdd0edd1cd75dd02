/** How much of what points to a person is taken out of a text, and how rarely anything else: counted over planted texts. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { describe, expect, test } from 'vitest'

import { createRedactor } from '#privacy/redact.ts'

import { chance } from '../../support/chance.ts'

const EACH = 500

/** In six languages, two of which are not written in Latin letters or without accents. */
const SENTENCES = [
  'You can reach me at {} before noon, she said.',
  'Write it down: {}. I will not say it twice.',
  'Du erreichst mich unter {}, aber bitte erst morgen.',
  'Meine Nummer? {} – und jetzt lass uns gehen.',
  'Voici ce que tu cherches : {}, garde-le pour toi.',
  'Mi dato es {} y no lo digas a nadie.',
  'Ecco qui: {}. Adesso lo sai.',
  'Запиши: {}. Я буду ждать.',
]

const numbers = chance(20_261_127)
const below = (most: number) => Math.floor((numbers.next().value + 0.5) * most)
const pick = <T>(items: readonly [T, ...T[]]): T => items[below(items.length)] ?? items[0]
const digits = (count: number) => Array.from({ length: count }, () => String(below(10))).join('')
const letters = (count: number) =>
  Array.from({ length: count }, () => String.fromCharCode(97 + below(26))).join('')

function card(): string {
  const body = `4${digits(14)}`
  const sum = [...body].reduce((total, digit, at) => {
    const doubled = at % 2 === 0 ? Number(digit) * 2 : Number(digit)
    return total + (doubled > 9 ? doubled - 9 : doubled)
  }, 0)
  const all = `${body}${String((10 - (sum % 10)) % 10)}`
  return pick([all, all.replace(/(\d{4})(?=\d)/g, '$1 '), all.replace(/(\d{4})(?=\d)/g, '$1-')])
}

function iban(): string {
  const body = digits(18)
  // `DE` is 1314; the remainder of all by 97 has to be 1.
  const rest = [...`${body}131400`].reduce((left, digit) => (left * 10 + Number(digit)) % 97, 0)
  const all = `DE${String(98 - rest).padStart(2, '0')}${body}`
  return pick([all, all.replace(/(.{4})(?=.)/g, '$1 ')])
}

function taxId(): string {
  const body = `${String(1 + below(9))}${digits(9)}`
  const product = [...body].reduce((left, digit) => (((Number(digit) + left) % 10 || 10) * 2) % 11, 10)
  return `${body}${String((11 - product) % 10)}`
}

function dni(): string {
  const number = digits(8)
  return `${number}${'TRWAGMYFPDXBNJZSQVHLCKE'[Number(number) % 23] ?? ''}`
}

const streets = {
  de: () =>
    `${pick(['Linden', 'Garten', 'Berliner ', 'Rosen'])}${pick(['straße', 'weg', 'allee'])} ${String(1 + below(120))}`,
  en: () =>
    `${String(1 + below(900))} ${pick(['Maple', 'Old Mill', 'Queen'])} ${pick(['Street', 'Road', 'Avenue', 'Lane'])}`,
  fr: () => `rue de la ${pick(['paix', 'gare', 'mairie'])} ${String(1 + below(90))}`,
  it: () => `via ${pick(['Roma', 'Garibaldi', 'Verdi'])} ${String(1 + below(90))}`,
}

/** The least share that has to be found. */
const KINDS: readonly [name: string, least: number, make: () => string][] = [
  [
    'mail addresses',
    0.95,
    () =>
      `${letters(3 + below(8))}${pick(['.', '_', '+', ''])}${letters(4)}@${letters(6)}.${pick(['de', 'com', 'co.uk', 'example'])}`,
  ],
  [
    'telephone numbers of the world',
    0.95,
    () =>
      `+${String(1 + below(98))} ${digits(3)} ${pick([digits(7), `${digits(3)} ${digits(4)}`, `${digits(3)}-${digits(4)}`])}`,
  ],
  [
    'telephone numbers of a country',
    0.95,
    () =>
      pick([
        `0${digits(3)} ${digits(7)}`,
        `(0${digits(2)}) ${digits(7)}`,
        `(${String(2 + below(8))}${digits(2)}) ${digits(3)}-${digits(4)}`,
      ]),
  ],
  ['cards', 0.95, card],
  ['IBANs', 0.95, iban],
  [
    'social security numbers',
    0.95,
    () => `${String(100 + below(500))}-${String(10 + below(89))}-${String(1000 + below(8999))}`,
  ],
  ['tax ids', 0.95, taxId],
  ['identity cards', 0.95, dni],
  ['IPv4 addresses', 0.95, () => Array.from({ length: 4 }, () => String(below(256))).join('.')],
  [
    'IPv6 addresses',
    0.95,
    () => Array.from({ length: 8 }, () => (4096 + below(61_440)).toString(16)).join(':'),
  ],
  [
    'keys',
    0.95,
    () =>
      pick([`sk-${letters(24)}`, `ghp_${letters(30)}`, `eyJ${letters(20)}.${letters(30)}.${letters(20)}`]),
  ],
  ['street addresses', 0.7, () => pick([streets.de, streets.en, streets.fr, streets.it])()],
]

describe('of what is planted', () => {
  test.each(KINDS)('%s are taken out', (_name, least, make) => {
    let found = 0
    for (let at = 0; at < EACH; at++) {
      const value = make()
      const redacted = createRedactor()((SENTENCES[at % SENTENCES.length] ?? '').replace('{}', () => value))
      if (!redacted.includes(value) && /\[[A-Z]+_1\]/.test(redacted)) found += 1
    }
    expect(found / EACH).toBeGreaterThanOrEqual(least)
  })
})

test('what only looks like it stays: at most one of a thousand sentences of role-play is touched', () => {
  const sentences = [...readStories(), ...Array.from({ length: 1_000 }, () => pick(INNOCENT)())]
  expect(sentences.length).toBeGreaterThan(1_000)
  const touched = sentences.filter((sentence) => createRedactor()(sentence) !== sentence)
  expect(touched.slice(0, 5)).toEqual([])
  expect(touched.length).toBeLessThanOrEqual(sentences.length / 1_000)
})

const number = (most: number) => String(1 + below(most))
const INNOCENT: [() => string, ...(() => string)[]] = [
  () => `She counted ${number(9)},${digits(3)} steps to the lamp.`,
  () => `It was the year ${number(2_000)}, and ${number(90)} ships lay in the harbour.`,
  () => `Room ${number(999)}, third floor, ${number(12)}:${String(10 + below(49))} sharp.`,
  () => `He rolled ${number(20)}, ${number(20)} and ${number(20)}: a critical hit for ${number(300)} points.`,
  () => `Version ${number(9)}.${number(30)}.${number(9)} of the map shows sector ${number(9)}-${number(99)}.`,
  () => `The crate weighs ${number(900)}.${number(9)} kg and costs ${number(90_000)} gold.`,
  () => `Order ${digits(7)} was shipped on ${number(12)}/${number(28)}/2026.`,
  () => `"Unit ${letters(2).toUpperCase()}-${digits(4)}, report!" the captain shouted at ${number(23)}:00.`,
  () => `The coordinates are ${number(89)}.${digits(4)}, ${number(179)}.${digits(4)}.`,
  () => `Chapter ${number(40)}: the ${number(9)}th gate opened after ${number(900)} years.`,
]

/** The starter cast and small talk, sentence by sentence. */
function readStories(): string[] {
  const files = readdirSync('characters', { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(md|ya?ml|txt)$/.test(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
  return [...files, 'tests/fixtures/small-talk.txt']
    .flatMap((file) => readFileSync(file, 'utf8').split(/[.!?]\s+|\n+/))
    .filter((sentence) => sentence.trim().length > 3)
}

test('the same value has the same mark within one text, and no other', () => {
  const redact = createRedactor()
  expect(redact('a@b.de, c@d.de and a@b.de')).toBe('[EMAIL_1], [EMAIL_2] and [EMAIL_1]')
  expect(redact('again c@d.de')).toBe('again [EMAIL_2]')
})
