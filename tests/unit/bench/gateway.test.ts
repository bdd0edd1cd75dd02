/** The pieces of the gateway benchmark that would give a wrong figure without anybody noticing. */
import fc from 'fast-check'
import { expect, test } from 'vitest'

import { composeToken, readBehaviour, toMarker } from '../../bench/gateway/behaviour.ts'
import { createResponseReader } from '../../bench/gateway/http-wire.ts'
import { median, percentile, poissonSchedule } from '../../bench/gateway/statistics.ts'
import { createTokenCounter } from '../../bench/gateway/token-counter.ts'

test.each([
  ['the middle of an odd number', [1, 2, 3], 0.5, 2],
  ['the lower middle of an even number', [1, 2, 3, 4], 0.5, 2],
  ['the last but five of a hundred', Array.from({ length: 100 }, (_, index) => index + 1), 0.95, 95],
  ['the highest of a few', [1, 2, 3], 0.99, 3],
  ['the lowest', [1, 2, 3], 0, 1],
  ['nothing of nothing', [], 0.5, NaN],
])('a percentile is %s', (_name, sorted, share, expected) => {
  expect(percentile(sorted, share)).toBe(expected)
})

test.each([
  [[3, 1, 2], 2],
  [[10, 9, 1, 2], 5.5],
  [[], NaN],
])('the median of %j is %d', (values, expected) => {
  expect(median(values)).toBe(expected)
})

const schedule = { perSecond: 100, durationMs: 100_000, seed: 7 }

test('strangers ask at the same moments for a seed, at others for another one', () => {
  const moments = poissonSchedule(schedule)
  expect(poissonSchedule(schedule)).toEqual(moments)
  expect(poissonSchedule({ ...schedule, seed: 8 })).not.toEqual(moments)
})

test('strangers ask as often as is wanted, and know nothing of each other', () => {
  const moments = poissonSchedule(schedule)
  const gaps = moments.map((atMs, index) => atMs - (moments[index - 1] ?? 0))
  expect(moments.length).toBeGreaterThan(9_600)
  expect(moments.length).toBeLessThan(10_400)
  expect(Math.min(...gaps)).toBeGreaterThan(0)
  // Of exponential gaps, e⁻¹ are longer than the mean.
  expect(gaps.filter((gap) => gap > 10).length / gaps.length).toBeCloseTo(Math.exp(-1), 1)
  expect(moments.at(-1)).toBeLessThan(100_000)
})

const events = (sequences: readonly number[], end = 'data: [DONE]\n\n') =>
  Buffer.from(
    sequences.map((sequence) => `data: {"content":"${composeToken(sequence, 5)} "}\n\n`).join('') + end,
  )

test.each([
  ['a whole stream', events([0, 1, 2]), {}],
  ['a lost token', events([0, 2]), { received: 2, lost: 1 }],
  ['a doubled token', events([0, 1, 1, 2]), { received: 4, extra: 1 }],
  ['a token that was not promised', events([0, 1, 2, 3]), { received: 4, extra: 1 }],
  ['two tokens in the wrong order', events([0, 2, 1]), { disordered: 1 }],
  ['a missing end', events([0, 1, 2], ''), { isEnded: false }],
  [
    'an end in the middle only',
    events([0, 1, 2], 'data: [DONE]\n\ndata: {"usage":{"total":3}}\n\n'),
    { isEnded: false },
  ],
  ['nothing at all', Buffer.from(''), { received: 0, lost: 3, isEnded: false }],
])('the counter sees %s, wherever the bytes are cut', (_name, bytes, difference) => {
  const expected = { received: 3, lost: 0, extra: 0, disordered: 0, isEnded: true, ...difference }
  for (let size = 1; size <= bytes.length + 1; size += 1) {
    const counter = createTokenCounter(3)
    for (let at = 0; at < bytes.length; at += size) counter.read(bytes.subarray(at, at + size))
    expect(counter.finish()).toEqual(expected)
  }
})

test('a token carries the moment at which it was sent', () => {
  const moments: number[] = []
  createTokenCounter(1).read(Buffer.from(composeToken(0, 1_234_567_890)), ({ sentAtUs }) =>
    moments.push(sentAtUs),
  )
  expect(moments).toEqual([1_234_567_890])
})

test('the last marker of a body decides, with and without JSON around it', () => {
  const first = { delayMs: 1, chunks: 2, intervalMs: 3, firstMs: 4, fillerBytes: 5 }
  const last = { delayMs: 10, chunks: 64, intervalMs: 20, firstMs: 0, fillerBytes: 0 }
  const body = JSON.stringify({
    messages: [{ content: toMarker(first) }, { content: `Now ${toMarker(last)}!` }],
  })
  expect(readBehaviour(Buffer.from(body))).toEqual(last)
  expect(readBehaviour(Buffer.from(body.replace('[[delay=10', '[[delay=x')))).toMatchObject({ chunks: 1 })
})

const ANSWERS = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-other: a\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x=1\r\n0123456789\r\n0\r\n\r\n',
  'HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n',
]

test('answers that follow each other are read the same, wherever the bytes are cut', () => {
  const bytes = Buffer.from(ANSWERS.join(''))
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const read: [number, string][] = []
      let current: [number, string] = [0, '']
      const reader = createResponseReader({
        onHead: (status) => (current = [status, '']),
        onBody: (piece) => (current[1] += piece.toString()),
        onEnd: () => void read.push(current),
      })
      const ends = [...cuts.sort((left, right) => left - right), bytes.length]
      ends.forEach((end, index) => reader.read(bytes.subarray(ends[index - 1] ?? 0, end)))
      expect(read).toEqual([
        [200, 'hello'],
        [200, 'abc0123456789'],
        [404, ''],
      ])
    }),
  )
})
