import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { Keywords, type Keyword } from '#characters/lore/keywords.ts'
import { KeyRing, LoreText } from '#characters/lore/match.ts'

import { cpuNowMs } from '../../support/cpu-time.ts'

const WORD = /[\p{L}\p{N}\p{M}_]/u
const endsInWord = (text: string) => WORD.test([...text].at(-1) ?? '')
const beginsWithWord = (text: string) => WORD.test([...text][0] ?? '')

/** One keyword after the other, place by place. */
function simpleSearch(keywords: readonly Keyword[], text: string): number[] {
  const stands = ({ text: wanted, isWholeWord }: Keyword) => {
    for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + 1)) {
      const isFree = !endsInWord(text.slice(0, at)) && !beginsWithWord(text.slice(at + wanted.length))
      if (!isWholeWord || isFree) return true
    }
    return false
  }
  return keywords.filter(stands).map(({ number }) => number)
}

const found = (keywords: readonly Keyword[], text: string) =>
  new Keywords(keywords).find(text).sort((a, b) => a - b)

describe('the search for all keywords at once', () => {
  test('finds what a search for each finds', () => {
    // Few letters, so that words overlap, end in each other and fall back; some that two code units make.
    const letters = fc.constantFrom('a', 'b', 'c', ' ', '.', 'é', 'к', '猫', '𝒜', '😀', '\u0301')
    const word = fc.array(letters, { minLength: 1, maxLength: 5 }).map((all) => all.join(''))
    const keyword = fc.record({ text: word, isWholeWord: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(keyword, { maxLength: 30 }),
        fc.array(letters, { maxLength: 60 }).map((all) => all.join('')),
        (words, text) => {
          const keywords = words.map((each, number) => ({ ...each, number }))
          expect(found(keywords, text)).toEqual(simpleSearch(keywords, text))
        },
      ),
      { seed: 20_261_123, numRuns: 3_000 },
    )
  })

  test('finds whole texts, texts of any units, and nothing in nothing', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 1 }), (texts) => {
        const keywords = texts.map((text, number) => ({ text, number, isWholeWord: false }))
        expect(found(keywords, texts.join(''))).toEqual(keywords.map(({ number }) => number))
        expect(found(keywords, '')).toEqual([])
      }),
      { seed: 20_261_123, numRuns: 500 },
    )
  })

  test('is linear where words fall back letter by letter', () => {
    const keywords = Array.from({ length: 500 }, (_, number) => ({
      number,
      text: `${'a'.repeat(number + 1)}b`,
      isWholeWord: false,
    }))
    const startedCpuMs = cpuNowMs()
    expect(found(keywords, 'a'.repeat(200_000))).toEqual([])
    expect(cpuNowMs() - startedCpuMs).toBeLessThan(1_000)
  })
})

describe('what is remembered of texts', () => {
  const RULES = { isCaseSensitive: false, isWholeWord: true, isPattern: false }
  test('is the same as what is found anew, in small and in capital letters', () => {
    const ring = new KeyRing()
    const folded = ring.add('Cat', RULES)
    const exact = ring.add('Cat', { ...RULES, isCaseSensitive: true })
    const pattern = ring.add('/c.t$/', RULES)
    const memory = ring.close()
    const held = (text: string) =>
      [folded, exact, pattern].map((key) => memory.scan(new LoreText(text)).holds(key))
    for (const _ of ['anew', 'remembered']) {
      expect(held('a cat')).toEqual([true, false, true])
      expect(held('a Cat!')).toEqual([true, true, false])
      expect(held('concat')).toEqual([false, false, true])
    }
  })

  test('has a bound', () => {
    const ring = new KeyRing()
    for (let at = 0; at < 500; at++) ring.add(`/a{${String(at % 9)}}b/`, RULES)
    const memory = ring.close()
    for (let at = 0; at < 20_000; at++) memory.scan(new LoreText(`text ${String(at)}`))
    expect(memory.size).toBeLessThan((8 * 1024 * 1024) / 1_000)
    expect(memory.size).toBeGreaterThan(1_000)
  })
})

describe('the keys of a book', () => {
  const RULES = { isCaseSensitive: false, isWholeWord: true, isPattern: true }
  const kindOf = (written: string, over = {}) => new KeyRing().add(written, { ...RULES, ...over }).kind
  test.each([
    ['cat', 'plain'],
    ['/black cat/i', 'plain'],
    ['c.t', 'pattern'],
    ['cats?', 'pattern'],
    ['/кот/i', 'pattern'],
    ['(?=x)', 'never'],
    [' ', 'never'],
  ])('which are all patterns: "%s" is %s', (written, kind) => {
    expect(kindOf(written)).toBe(kind)
  })

  test('which a hostile card has a million of, are bounded', () => {
    const ring = new KeyRing()
    const letters = Array.from({ length: 60_000 }, (_, at) =>
      ring.add(String(at * 7_919).padStart(10, 'x'), { ...RULES, isPattern: false }),
    )
    const patterns = Array.from({ length: 600 }, (_, at) => ring.add(`a{${String(at % 9)}}b`, RULES))
    const dropped = [...letters, ...patterns].filter((key) => key.kind === 'never' && key.why === 'too_many')
    expect(dropped).toHaveLength(10_000 + 100)
    const memory = ring.close()
    expect(letters.filter((key) => memory.scan(new LoreText('a xxxxxx7919!')).holds(key))).toHaveLength(1)
  })
})
