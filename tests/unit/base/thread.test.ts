import { afterAll, expect, test, vi } from 'vitest'

import { createThread } from '#base/thread.ts'

/** Doubles numbers, ends with 'end', says which thread it is with 'who', fails with anything else. */
const DOUBLER = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from 'node:worker_threads'
    parentPort.on('message', (job) => {
      if (job === 'close') return parentPort.close()
      if (job.method === 'end') process.exit(1)
      if (job.method === 'who') return parentPort.postMessage({ id: job.id, value: threadId })
      if (job.method === 'double') parentPort.postMessage({ id: job.id, value: job.argument * 2 })
      else parentPort.postMessage({ id: job.id, failure: { code: 'not_found', message: 'No such thing', param: 'method' } })
    })`)}`,
)

const thread = createThread(DOUBLER, undefined, 'The doubler')
afterAll(() => thread.close())

test('each answer reaches who asked for it', async () => {
  const answers = await Promise.all([1, 2, 3].map((number) => thread.call('double', number)))
  expect(answers).toEqual([2, 4, 6])
})

test('an AppError arrives as one', async () => {
  await expect(thread.call('halve', 1)).rejects.toMatchObject({
    ...{ name: 'AppError', code: 'not_found', message: 'No such thing', param: 'method' },
  })
})

test('what cannot be copied is refused, and leaves nobody waiting', async () => {
  await expect(thread.call('double', () => 1)).rejects.toThrow(/could not be cloned/)
  expect(await thread.call('double', 5)).toBe(10)
})

test('those who wait for a thread that ends are told, and the next question gets a new one', async () => {
  const waiting = [thread.call('end', 1), thread.call('double', 1)]
  for (const outcome of await Promise.allSettled(waiting))
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } })
  expect(await thread.call('double', 4)).toBe(8)
})

test('who asks after the end does not start it again', async () => {
  const closing = createThread(DOUBLER, undefined, 'The doubler')
  await closing.call('double', 1)
  await closing.close()
  await expect(closing.call('double', 1)).rejects.toMatchObject({
    ...{ code: 'unavailable', message: 'The doubler cannot be used: it is closed' },
  })
})

test('a thread that nobody asks anything ends, and another answers the next question', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const resting = createThread(DOUBLER, undefined, 'The doubler', { idleMs: 1_000 })
    const first = await resting.call('who', undefined)
    vi.advanceTimersByTime(999)
    expect(await resting.call('who', undefined)).toBe(first)
    vi.advanceTimersByTime(999)
    const busy = resting.call('who', undefined)
    vi.advanceTimersByTime(1_001)
    expect(await busy).toBe(first)
    vi.advanceTimersByTime(1_001)
    expect(await resting.call('who', undefined)).not.toBe(first)
    await resting.close()
  } finally {
    vi.useRealTimers()
  }
})
