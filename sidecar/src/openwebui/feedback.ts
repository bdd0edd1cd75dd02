/**
 * Thumbs. Open WebUI's event names only the feedback, so the rest is asked for; of that only the rating and the ids are
 * used, never the comment or the snapshot of the chat.
 */
import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'

import { after as realAfter, type After } from '#base/after.ts'
import type { Feedback, OpenWebUi } from './client.ts'

export interface AnswerRating {
  /** Id of the feedback; a later click on the same answer replaces the value. */
  id: string
  /** Open WebUI's id of the rated answer. */
  messageId: string
  value: 1 | -1
  atMs: number
}

export interface FeedbackParts {
  client: Pick<OpenWebUi, 'getFeedback'>
  saveRating: (rating: AnswerRating) => Promise<void>
  deleteRating: (id: string) => Promise<void>
  log: Log
  after?: After
}

export interface FeedbackDesk {
  /** Takes note of `feedback.created`, `feedback.updated` and `feedback.deleted`; `id` is the feedback's. Others are ignored. */
  event(event: { name: string; id: string }): void
  /** Sees to what is waiting, then ends. */
  close(): Promise<void>
}

/** Each click in the little form after a thumb is another event. */
const PAUSE_MS = 1_000

/** Open WebUI has just spoken to us, so a failure to answer is rare and short. */
const RETRIES_MS = [2_000, 10_000, 60_000]

/** A bound on memory only: people click slower than this many in a second. */
const MAX_WAITING = 10_000

type Act = () => Promise<void>

export function createFeedback(on: FeedbackParts): FeedbackDesk {
  const after = on.after ?? realAfter
  /** What is to be done next for each feedback, and how to call it off. */
  const waiting = new Map<string, { act: Act; cancel: () => void }>()
  /** What is being done for each; the next for the same one waits for it, so that the last event wins. */
  const running = new Map<string, Promise<void>>()
  let isClosed = false

  function wait(id: string, ms: number, act: Act, attempt: number): void {
    waiting.get(id)?.cancel()
    if (waiting.size >= MAX_WAITING && !waiting.has(id)) {
      on.log.warn({ waiting: waiting.size }, 'too many ratings at once; one is lost')
      return
    }
    waiting.set(id, { act, cancel: after(ms, () => start(id, act, attempt)) })
  }

  function start(id: string, act: Act, attempt: number): void {
    waiting.delete(id)
    const run = (running.get(id) ?? Promise.resolve()).then(act).catch((thrown: unknown) => {
      const isLatest = running.get(id) === run && !waiting.has(id)
      const retryMs = RETRIES_MS[attempt]
      if (isLatest && retryMs !== undefined && !isClosed) {
        wait(id, retryMs, act, attempt + 1)
        return
      }
      const error = toAppError(thrown)
      if (isLatest) on.log.error({ code: error.code, error }, 'a rating could not be taken over')
    })
    running.set(id, run)
    void run.finally(() => running.get(id) === run && running.delete(id)) // `run` never rejects
  }

  return {
    event({ name, id }) {
      if (isClosed) return
      if (name === 'feedback.created' || name === 'feedback.updated') {
        wait(id, PAUSE_MS, () => fetchRating(id, on), 0)
      }
      if (name === 'feedback.deleted') wait(id, 0, () => on.deleteRating(id), 0)
    },
    async close() {
      isClosed = true
      for (const [id, { act, cancel }] of waiting) {
        cancel()
        start(id, act, RETRIES_MS.length)
      }
      await Promise.all(running.values())
    },
  }
}

async function fetchRating(id: string, { client, saveRating, deleteRating }: FeedbackParts): Promise<void> {
  const feedback = await client.getFeedback(id)
  const rating = feedback && toRating(feedback)
  await (rating === undefined ? deleteRating(id) : saveRating(rating))
}

/** Undefined when it rates no answer. */
export function toRating({
  id,
  data,
  meta,
  updated_at: updatedAtSeconds,
}: Feedback): AnswerRating | undefined {
  const value = toValue(Number(data?.rating ?? Number.NaN))
  const messageId = meta?.message_id
  if (value === undefined || messageId == null) return undefined
  return { id, messageId, value, atMs: updatedAtSeconds * 1_000 }
}

/** A thumb is 1 or -1; marks from 1 to 10 lie on one side or the other of the middle, with 1 already taken by the thumb. */
function toValue(rating: number): 1 | -1 | undefined {
  if (rating === 1 || (rating > 5 && rating <= 10)) return 1
  if (rating === -1 || (rating > 1 && rating <= 5)) return -1
  return undefined
}
