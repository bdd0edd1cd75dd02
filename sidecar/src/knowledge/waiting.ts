/** What a turn waits for, and no longer. */
import { toAppError } from '#base/errors.ts'

import { nothingFrom, type RetrievalNote, type Retrieved } from './retrieval.ts'

export interface Leg<T> {
  value: T
  ms: number
  note?: RetrievalNote
}

/** One of several searches side by side; what is not there in time, or fails, is left out and said. */
export async function leg<T>(
  what: 'words' | 'meaning' | 'rerank',
  otherwise: T,
  { run, deadlineMs, now }: { run: () => Promise<T>; deadlineMs: number; now: () => number },
): Promise<Leg<T>> {
  const startedMs = now()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Leg<T>>((resolve) => {
    timer = setTimeout(
      () => resolve({ value: otherwise, ms: now() - startedMs, note: { code: 'late', what } }),
      deadlineMs,
    )
  })
  const done = run().then(
    (value): Leg<T> => ({ value, ms: now() - startedMs }),
    (thrown: unknown): Leg<T> => {
      const { message } = toAppError(thrown)
      return { value: otherwise, ms: now() - startedMs, note: { code: 'unavailable', what, message } }
    },
  )
  return Promise.race([done, late]).finally(() => clearTimeout(timer))
}

/** Whatever happens, even where the database hangs. */
export async function within(mostMs: number, found: Promise<Retrieved>): Promise<Retrieved> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Retrieved>((resolve) => {
    timer = setTimeout(() => resolve(nothingFrom([{ code: 'late', what: 'passages' }])), mostMs)
  })
  return Promise.race([found, late]).finally(() => clearTimeout(timer))
}
