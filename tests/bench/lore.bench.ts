/** A large lorebook in a long chat: 2,000 keys, 100 messages, 150 KB. */
import type { LorebookEntry } from '#characters/card.ts'
import { activate } from '#characters/lore/activate.ts'
import { compileBook, type LoreBook } from '#characters/lore/book.ts'
import type { LoreMessage } from '#characters/lore/settings.ts'

import type { Report } from '../../scripts/bench.mjs'
import { sampleEntry } from '../support/samples.ts'

const KEYS = 2_000
const MESSAGES = 100
const MESSAGE_CHARACTERS = 1_500
const USUAL_DEPTH = 4
const ROUNDS = 5
/** A server has run for a while when it matters; before, its code is still being compiled. */
const WARM_UPS = 20
const STICKY_ENTRIES = 40

export function measure(): Report {
  const chat = createChat()
  const rounds = Array.from({ length: WARM_UPS + ROUNDS }, (_, round) => measureRound(round, chat))
  const measured = rounds.slice(WARM_UPS)
  const of = (pick: (round: Round) => number) => median(measured.map(pick))
  return {
    title: `Lore: ${String(KEYS)} keys, ${String(MESSAGES)} messages, median of ${String(ROUNDS)}`,
    rows: [
      { name: 'compile the book', value: of(({ compileMs }) => compileMs), unit: 'ms' },
      { name: 'a regular expression for each key', value: of(({ naiveMs }) => naiveMs), unit: 'ms' },
      { name: 'cold: nothing remembered', value: of(({ coldMs }) => coldMs), unit: 'ms', most: 60 },
      { name: 'cold, faster by', value: of((each) => each.naiveMs / each.coldMs), unit: 'times', least: 20 },
      { name: 'warm: one new message', value: of(({ warmMs }) => warmMs), unit: 'ms', most: 2 },
      { name: 'warm, looking at all messages', value: of(({ wideMs }) => wideMs), unit: 'ms', most: 4 },
      {
        name: 'replay: warm, 50 turns run again',
        value: of(({ replayMs }) => replayMs),
        unit: 'ms',
        most: 4,
      },
    ],
  }
}

interface Round {
  compileMs: number
  naiveMs: number
  coldMs: number
  warmMs: number
  wideMs: number
  replayMs: number
}

/** All kinds in turn, so that a busy moment of the machine does not hit one of them alone. */
function measureRound(round: number, chat: readonly LoreMessage[]): Round {
  const startedAtMs = performance.now()
  const wide = createBook(MESSAGES)
  const compileMs = performance.now() - startedAtMs
  const usual = createBook(USUAL_DEPTH)
  const sticky = createBook(USUAL_DEPTH, STICKY_ENTRIES)
  const next = [...chat, said(MESSAGES + round, createText(9_000 + round))]
  const naiveMs = timeMs(() => searchNaively(PATTERNS, chat))
  const coldMs = timeMs(() => run(wide, chat))
  for (const book of [usual, sticky]) run(book, chat)
  return {
    compileMs,
    naiveMs,
    coldMs,
    warmMs: timeMs(() => run(usual, next)),
    wideMs: timeMs(() => run(wide, next)),
    replayMs: timeMs(() => run(sticky, next)),
  }
}

const run = (book: LoreBook, messages: readonly LoreMessage[]) =>
  activate([book], messages, {
    budgetTokens: 2_000,
    countTokens: (text) => text.length / 4,
    render: ({ content }) => content,
    hidden: () => [],
    draw: () => 0.5,
    character: { names: ['Ana'], tags: [] },
    sources: {},
    clockMs: () => 0,
  })

/** Each key in each message, as it is done without any of our means; the expressions are compiled beforehand. */
function searchNaively(patterns: readonly RegExp[], messages: readonly LoreMessage[]): number {
  return messages.reduce((sum, { text }) => sum + patterns.filter((pattern) => pattern.test(text)).length, 0)
}

/** Without a collection before: a forced one throws compiled code away, and the figures were three times as high. */
function timeMs(action: () => unknown): number {
  const startedAtMs = performance.now()
  action()
  return performance.now() - startedAtMs
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

// -- a world ----------------------------------------------------------------------------------------------------------

/** Always the same numbers for a seed. */
function createDice(seed: number): () => number {
  let state = seed + 1
  return () => {
    state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
  }
}

const SYLLABLES = 'ka len mor ti ash ve ro din el sha tu bri an gor wy nes fal ou pri th'.split(' ')
const COMMON = 'the and of to a in he she was it that on with his her as had at by from'.split(' ')
const NAME_SHARE = 0.01

/** From `least` syllables up to twice as many. */
const createWords = (seed: number, count: number, least: number): string[] => {
  const dice = createDice(seed)
  const syllable = () => SYLLABLES[Math.floor(dice() * SYLLABLES.length)] ?? ''
  return Array.from({ length: count }, () =>
    Array.from({ length: least + Math.floor(dice() * (least + 1)) }, syllable).join(''),
  )
}

const WORDS = [...COMMON, ...createWords(1, 500, 1), ...createWords(2, 7_500, 2)]
/** Names are made of the same syllables as the other words, but longer; some of two words. */
const NAMES = createWords(3, KEYS, 3).map((name, index) => {
  const capital = name.slice(0, 1).toUpperCase() + name.slice(1)
  return index % 5 === 0 ? `${capital} ${WORDS[40 + index] ?? ''}` : capital
})

const PATTERNS = NAMES.map((name) => new RegExp(`(?:^|\\W)${name}(?:$|\\W)`, 'i'))

/** Words fall off with their rank, as they do in every language; one in a hundred is a name that the book knows. */
function createText(seed: number, characters = MESSAGE_CHARACTERS): string {
  const dice = createDice(seed)
  const pick = (list: readonly string[]) => list[Math.floor(list.length ** dice() - 1)] ?? 'the'
  const words: string[] = []
  for (let length = 0; length < characters; length += words.at(-1)?.length ?? 1)
    words.push(`${pick(dice() < NAME_SHARE ? NAMES : WORDS)}${dice() < 0.1 ? '. ' : ' '}`)
  return words.join('')
}

const said = (index: number, text: string): LoreMessage => ({
  role: index % 2 === 0 ? 'user' : 'assistant',
  name: index % 2 === 0 ? 'Tom' : 'Ana',
  text,
})

const createChat = () => Array.from({ length: MESSAGES }, (_, index) => said(index, createText(index)))

function createBook(scanDepth: number, stickyEntries = 0): LoreBook {
  const entries = NAMES.map((name, index): LorebookEntry =>
    sampleEntry({
      constant: false,
      keys: [name],
      content: createText(index, 200),
      insertion_order: index,
      extensions: { selectiveLogic: 0, ...(index < stickyEntries ? { sticky: 4, cooldown: 2 } : {}) },
    }),
  )
  return compileBook({ extensions: {}, entries, scan_depth: scanDepth, recursive_scanning: true })
}
