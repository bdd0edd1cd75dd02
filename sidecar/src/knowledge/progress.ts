/** How far the documents are that this process reads; what the database knows of it is a few seconds old. */
import type { Progress } from './knowledge.ts'

export interface Counts {
  pagesRead: number
  pagesTotal: number | null
  chunksEmbedded: number
  chunksTotal: number | null
}

interface Step {
  counts: Counts
  startedAtMs: number
  /** What was done already when the step began: a resumed one is not faster because of it. */
  doneBefore: number
}

export interface ProgressBoard {
  begin(id: string, counts: Counts): void
  set(id: string, counts: Partial<Counts>): void
  /** Undefined for documents that are not at work here. */
  counts(id: string): Counts | undefined
  of(id: string, stored: Counts): Progress
  end(id: string): void
}

export function createProgressBoard(now: () => number): ProgressBoard {
  const steps = new Map<string, Step>()
  return {
    begin: (id, counts) => {
      steps.set(id, { counts, startedAtMs: now(), doneBefore: doneOf(counts).done })
    },
    set(id, counts) {
      const step = steps.get(id)
      if (step !== undefined) step.counts = { ...step.counts, ...counts }
    },
    counts: (id) => steps.get(id)?.counts,
    of(id, stored) {
      const step = steps.get(id)
      const { pagesRead, pagesTotal, chunksEmbedded, chunksTotal } = step?.counts ?? stored
      const left = step === undefined ? null : secondsLeft(step, now())
      return { pagesRead, pagesTotal, chunksEmbedded, chunksTotal, secondsLeft: left }
    },
    end: (id) => {
      steps.delete(id)
    },
  }
}

/** Of the step that is at work: passages once there are any, else pages. */
function doneOf({ pagesRead, pagesTotal, chunksEmbedded, chunksTotal }: Counts) {
  return chunksTotal === null
    ? { done: pagesRead, total: pagesTotal }
    : { done: chunksEmbedded, total: chunksTotal }
}

function secondsLeft({ counts, startedAtMs, doneBefore }: Step, nowMs: number): number | null {
  const { done, total } = doneOf(counts)
  const fresh = done - doneBefore
  if (total === null || fresh <= 0) return null
  return Math.ceil(((nowMs - startedAtMs) / 1_000 / fresh) * (total - done))
}
