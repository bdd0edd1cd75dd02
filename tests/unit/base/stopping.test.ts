import { describe, expect, test, vi } from 'vitest'

import { AppError, endedBy } from '#base/errors.ts'
import { Stopping, type StopSignal } from '#base/stopping.ts'

/** What is promised of ours holds of the platform's, whose place it takes. */
const kinds: [string, () => { signal: StopSignal; abort: (reason?: unknown) => void }][] = [
  [
    'ours',
    () => {
      const stopping = new Stopping()
      return { signal: stopping, abort: (reason) => stopping.abort(reason) }
    },
  ],
  [
    "the platform's",
    () => {
      const controller = new AbortController()
      return { signal: controller.signal, abort: (reason) => controller.abort(reason) }
    },
  ],
]

describe.each(kinds)('a signal of %s', (_name, open) => {
  test('tells everybody once, with the first reason', () => {
    const { signal, abort } = open()
    const [one, two] = [vi.fn(), vi.fn()]
    signal.addEventListener('abort', one)
    signal.addEventListener('abort', two)
    expect(signal.aborted).toBe(false)
    const reason = new AppError('unavailable', 'The house closes')
    abort(reason)
    abort(new AppError('internal', 'Too late'))
    expect([one, two].map(({ mock }) => mock.calls.length)).toEqual([1, 1])
    expect(signal.aborted).toBe(true)
    expect(endedBy(signal)).toBe(reason)
  })

  test('tells nobody who went, and nobody who comes too late', () => {
    const { signal, abort } = open()
    const [gone, late] = [vi.fn(), vi.fn()]
    signal.addEventListener('abort', gone)
    signal.removeEventListener('abort', gone)
    abort()
    signal.addEventListener('abort', late)
    expect(gone).not.toHaveBeenCalled()
    expect(late).not.toHaveBeenCalled()
    expect(endedBy(signal)).toBeUndefined()
  })

  test('lets a listener go while it is told', () => {
    const { signal, abort } = open()
    const two = vi.fn()
    const one = () => signal.removeEventListener('abort', one)
    signal.addEventListener('abort', one)
    signal.addEventListener('abort', two)
    abort()
    expect(two).toHaveBeenCalledOnce()
  })
})
