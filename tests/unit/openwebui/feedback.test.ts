import { beforeEach, describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { createLog } from '#base/log.ts'
import type { Feedback } from '#openwebui/client.ts'
import { createFeedback, toRating, type FeedbackDesk } from '#openwebui/feedback.ts'

import { createHandClock, settled, type HandClock } from '../../support/hand-clock.ts'

const thumb = (rating: number | string | null): Feedback => ({
  id: 'f1',
  data: { rating },
  meta: { message_id: 'm1', chat_id: 'c1' },
  updated_at: 1_800_000_000,
})

describe('a rating', () => {
  test.each([
    [1, 1],
    [-1, -1],
    ['1', 1],
    ['-1', -1],
    [2, -1],
    [5, -1],
    [6, 1],
    [10, 1],
  ])('%s is %s', (rating, value) => {
    expect(toRating(thumb(rating))).toEqual({ id: 'f1', messageId: 'm1', value, atMs: 1_800_000_000_000 })
  })

  test.each([0, 11, -2, 'good', null])('%s is none', (rating) => {
    expect(toRating(thumb(rating))).toBeUndefined()
  })

  test('of no answer is none', () => {
    expect(toRating({ ...thumb(1), meta: { chat_id: 'c1' } })).toBeUndefined()
    expect(toRating({ ...thumb(1), meta: null })).toBeUndefined()
    expect(toRating({ ...thumb(1), data: null })).toBeUndefined()
  })
})

describe('events', () => {
  let clock: HandClock
  let done: string[]
  let stored: Feedback | undefined
  let asked: number
  let faults: Error[]
  let lines: Record<string, unknown>[]
  let feedback: FeedbackDesk

  const note = (what: string) => Promise.resolve(void done.push(what))

  beforeEach(() => {
    clock = createHandClock()
    done = []
    stored = thumb(1)
    asked = 0
    faults = []
    lines = []
    feedback = createFeedback({
      client: {
        getFeedback() {
          asked += 1
          const fault = faults.shift()
          return fault === undefined ? Promise.resolve(stored) : Promise.reject(fault)
        },
      },
      saveRating: ({ id, value }) => note(`save ${id} ${String(value)}`),
      deleteRating: (id) => note(`delete ${id}`),
      log: createLog('info', {
        write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
      }),
      after: clock.after,
    })
  })

  const event = (what: string, id = 'f1') => feedback.event({ name: `feedback.${what}`, id })

  test('of one thumb become one question, a second after the last click', async () => {
    event('created')
    await clock.advance(900)
    event('updated')
    await clock.advance(900)
    expect(asked).toBe(0)
    await clock.advance(100)
    expect([asked, done]).toEqual([1, ['save f1 1']])
  })

  test('of different thumbs do not wait for each other', async () => {
    event('created', 'f1')
    event('created', 'f2')
    await clock.advance(1_000)
    expect(asked).toBe(2)
  })

  test('of a withdrawn thumb forget it, without asking', async () => {
    event('created')
    event('deleted')
    await clock.advance(5_000)
    expect([asked, done]).toEqual([0, ['delete f1']])
  })

  test('for a thumb that is gone, or says nothing any more, forget it too', async () => {
    stored = undefined
    event('updated')
    await clock.advance(1_000)
    stored = thumb(null)
    event('updated')
    await clock.advance(1_000)
    expect(done).toEqual(['delete f1', 'delete f1'])
  })

  test.each(['deleted_all', 'listed'])('that we do not know are ignored: %s', async (what) => {
    event(what)
    feedback.event({ name: 'chat.deleted', id: 'f1' })
    await clock.advance(5_000)
    expect([asked, done]).toEqual([0, []])
  })

  test('are tried again when Open WebUI fails, and in the end given up in the log, without an id', async () => {
    const fault = new AppError('unavailable', 'away')
    faults = [fault, fault]
    event('created')
    await clock.advance(1_000)
    await clock.advance(2_000)
    await clock.advance(10_000)
    expect([asked, done]).toEqual([3, ['save f1 1']])

    faults = [fault, fault, fault, fault]
    event('updated')
    await clock.advance(100_000)
    expect([asked, done.length]).toEqual([7, 1])
    expect(lines).toMatchObject([{ level: 'error', code: 'unavailable' }])
    expect(JSON.stringify(lines)).not.toContain('f1')
  })

  test('that come during a question are answered after it, so that the last one wins', async () => {
    let answer = (_: Feedback | undefined): void => undefined
    const slow = createFeedback({
      client: { getFeedback: () => new Promise((resolve) => (answer = resolve)) },
      saveRating: ({ id }) => note(`save ${id}`),
      deleteRating: (id) => note(`delete ${id}`),
      log: createLog('silent'),
      after: clock.after,
    })
    slow.event({ name: 'feedback.created', id: 'f1' })
    await clock.advance(1_000)
    slow.event({ name: 'feedback.deleted', id: 'f1' })
    await clock.advance(1_000)
    answer(thumb(1))
    await settled()
    expect(done).toEqual(['save f1', 'delete f1'])
  })

  test('that fail after a newer one are not tried again', async () => {
    let refuse = (_: Error): void => undefined
    const slow = createFeedback({
      client: { getFeedback: () => new Promise((_resolve, reject) => (refuse = reject)) },
      saveRating: ({ id }) => note(`save ${id}`),
      deleteRating: (id) => note(`delete ${id}`),
      log: createLog('info', {
        write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>),
      }),
      after: clock.after,
    })
    slow.event({ name: 'feedback.created', id: 'f1' })
    await clock.advance(1_000)
    slow.event({ name: 'feedback.deleted', id: 'f1' })
    await clock.advance(0)
    refuse(new AppError('unavailable', 'away'))
    await settled()
    expect([clock.pending(), done, lines]).toEqual([[], ['delete f1'], []])
  })

  test('that still wait are seen to when the desk closes, and none after that', async () => {
    event('created', 'f1')
    event('deleted', 'f2')
    await feedback.close()
    expect([...done].sort()).toEqual(['delete f2', 'save f1 1'])
    event('created', 'f3')
    expect(clock.pending()).toEqual([])
  })

  test('that fail while the desk closes are not tried again', async () => {
    let refuse = (_: Error): void => undefined
    const slow = createFeedback({
      client: { getFeedback: () => new Promise((_resolve, reject) => (refuse = reject)) },
      saveRating: () => Promise.resolve(),
      deleteRating: () => Promise.resolve(),
      log: createLog('silent'),
      after: clock.after,
    })
    slow.event({ name: 'feedback.created', id: 'f1' })
    await clock.advance(1_000)
    const closed = slow.close()
    refuse(new AppError('unavailable', 'away'))
    await closed
    expect(clock.pending()).toEqual([])
  })

  test('closing does not wait for an Open WebUI that is away', async () => {
    faults = [new AppError('unavailable', 'away')]
    event('created')
    await feedback.close()
    expect([clock.pending(), lines.length]).toEqual([[], 1])
  })
})
