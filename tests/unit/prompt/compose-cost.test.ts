/**
 * What a prompt costs, as a multiple of parsing its request on the same machine. The best of many short runs counts: others on
 * the machine only ever make a run longer.
 */
import { expect, test } from 'vitest'

import { compose } from '#prompt/compose.ts'
import type { ModelProfile } from '#prompt/prompt.ts'

import { assistant, sampleAsk, sampleEntry, sampleMaterials, system, user } from '../../support/samples.ts'

const RUNS = 80
const TIMES = 20
/** About four times what was seen; a book compiled anew, or a persona rendered for each turn, costs ten times as much. */
const MOST_PARSES = 60

const ENTRIES = 200
const MENTIONED = ['harbour wall', 'the soup']

const materials = sampleMaterials({
  description: '{{char}} has kept the lighthouse for thirty years and never leaves {{user}} cold. '.repeat(
    12,
  ),
  character_book: {
    extensions: {},
    entries: Array.from({ length: ENTRIES }, (_, at) =>
      sampleEntry({
        constant: false,
        keys: [MENTIONED[at] ?? `name ${String(at)}`, `word ${String(at)}`, `place ${String(at)}`],
        content: `What is told at the coast about place ${String(at)}: the stones came by ship.`,
      }),
    ),
  },
})
const messages = [
  system('You keep a lighthouse. Answer in one or two calm sentences.'),
  user('Good evening. Is there a room for the night, and perhaps something warm to eat before we sleep?'),
  assistant('There is. Mind the step; the soup has been on since the boats came in.'),
  user('Who built the harbour wall?'),
]
const ask = sampleAsk({ messages })
const body = JSON.stringify({ model: 'mira', messages })
const profile: ModelProfile = { contextTokens: 8_192, tokenRatio: 1 }

function timeMs(run: () => unknown): number {
  const startedAtMs = performance.now()
  for (let time = 0; time < TIMES; time++) run()
  return performance.now() - startedAtMs
}

test('a prompt of a persona and a lorebook costs no multiple of what it did', () => {
  expect(compose(ask, { ...materials }, profile).parts.filter(({ kind }) => kind === 'lore')).toHaveLength(2)
  let [composeMs, parseMs] = [Infinity, Infinity]
  for (let at = 0; at < RUNS; at++) {
    // The materials are new in each turn, what they hold is not.
    composeMs = Math.min(
      composeMs,
      timeMs(() => compose(ask, { ...materials }, profile)),
    )
    parseMs = Math.min(
      parseMs,
      timeMs(() => JSON.parse(body) as unknown),
    )
  }
  process.stdout.write(`A prompt costs ${(composeMs / parseMs).toFixed(0)} times the parse of its request\n`)
  expect(composeMs / parseMs).toBeLessThan(MOST_PARSES)
}, 60_000)
