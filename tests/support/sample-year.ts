/** The calls of a year in a house of some sixty people, the same each time: what the pages of the figures are looked at with. */
import { DAY_MS, HOUR_MS } from '#analytics/calendar.ts'
import { openRecorder } from '#analytics/recorder.ts'
import type { CallDetails, CallRecord } from '#analytics/record.ts'
import { openStore } from '#store/open.ts'

import { chance } from './chance.ts'
import { sampleRecord } from './sample-record.ts'
import { silentLog } from './silent-log.ts'

export interface SampleYear {
  /** Of the database of records. */
  url: string
  nowMs: number
  characters: readonly string[]
  calls: number
  days?: number
}

const PEOPLE = 64
const GROUPS = ['Evening class', 'Chess club', 'Staff', 'Reading circle']
const MODELS = ['qwen3:8b', 'llama3.2:3b', 'mistral-nemo:12b']
const ENTRIES = [
  'The lighthouse',
  'Old harbour',
  'The flood of 1911',
  'Rules of the house',
  'Night boat',
  'The archive',
]
const DOCUMENTS = ['handbook', 'opening-hours', 'course-plan']
const BATCH = 500

/** Writes them through the recorder, as the sidecar does. */
export async function recordSampleYear(on: SampleYear): Promise<void> {
  const store = await openStore(on.url)
  const recorder = openRecorder({ store, log: silentLog, now: () => on.nowMs })
  const dice = chance(7)
  const draw = () => dice.next().value + 0.5
  for (let at = 0; at < on.calls; at += BATCH) {
    const some = Array.from({ length: Math.min(BATCH, on.calls - at) }, (_, more) =>
      callOf(at + more, on, draw),
    )
    await Promise.all(some.map(({ call, details }) => recorder.add(sampleRecord(call), details)))
    for (const { call } of some) {
      const { message } = call
      if (message != null && call.status === 'ok' && draw() < 0.08)
        await recorder.addRating({
          id: `thumb:${message}`,
          message,
          value: draw() < 0.84 ? 1 : -1,
          atMs: on.nowMs,
        })
    }
  }
  await recorder.close()
  await store.close()
}

function callOf(
  number: number,
  on: SampleYear,
  draw: () => number,
): { call: Partial<CallRecord>; details: CallDetails } {
  /** The first of a list are the favourites. */
  const favourite = (length: number) => Math.floor(length * draw() ** 1.8)
  const share = number / on.calls
  // More from month to month, and in the evening.
  const dayMs = on.nowMs - (on.days ?? 365) * DAY_MS * (1 - share ** 0.7)
  const evening = Math.floor(dayMs / DAY_MS) * DAY_MS + (14 + 7 * draw()) * HOUR_MS
  const startedAtMs = Math.floor(Math.min(on.nowMs - 60_000 - number, evening))
  // Newcomers come over the whole year.
  const person = favourite(Math.max(6, Math.ceil(PEOPLE * share)))
  const character = favourite(on.characters.length)
  const model = character % MODELS.length
  const isTask = draw() < 0.18
  const fate = draw()
  const isFailed = fate < 0.02
  const isLeft = !isFailed && fate < 0.045
  const prefillMs = 120 + 900 * draw() ** 3 * (1.4 - share)
  const loadMs = draw() < 0.04 ? 3_000 + 3_000 * draw() : 3
  const queueMs = draw() < 0.1 ? 1_500 * draw() : 4
  const decodeMs = 900 + 5_000 * draw() ** 2
  const firstTokenMs = queueMs + loadMs + prefillMs
  const promptTokens = 900 + Math.floor(1_600 * draw())
  const isOverApi = !isTask && draw() < 0.12
  const call: Partial<CallRecord> = {
    id: `call-${String(number).padStart(6, '0')}`,
    startedAtMs,
    kind: isTask ? 'task' : 'turn',
    surface: isOverApi ? 'api' : 'open-webui',
    person: isOverApi ? null : `person-${String(person)}`,
    groups: isOverApi ? null : [GROUPS[person % GROUPS.length] ?? ''],
    chat: `chat-${String(Math.floor(number / 7))}`,
    message: isTask ? null : `message-${String(number)}`,
    userMessage: isTask ? null : `question-${String(draw() < 0.06 ? number - 1 : number)}`,
    turn: 1 + (number % 7),
    characterId: isTask ? null : (on.characters[character] ?? null),
    characterVersion: isTask ? null : share < 0.6 ? 1 : 2,
    baseModel: isTask ? (MODELS[1] ?? '') : (MODELS[model] ?? ''),
    streamed: !isTask,
    status: isFailed ? 'failed' : isLeft ? 'cancelled' : 'ok',
    errorCode: isFailed
      ? (['upstream', 'context_length', 'upstream_timeout'][favourite(3)] ?? null)
      : isLeft
        ? 'cancelled'
        : null,
    promptTokens,
    completionTokens: isFailed ? 0 : Math.floor(40 + 260 * draw()),
    cachedTokens: Math.floor(promptTokens * (0.5 + 0.4 * draw())),
    cachedIsEstimate: false,
    firstTokenMs: isFailed || isTask ? null : firstTokenMs,
    totalMs: firstTokenMs + decodeMs + 40,
    ...{ queueMs, loadMs, prefillMs, decodeMs },
    costMicro: model === 2 ? null : Math.floor(promptTokens * 0.3),
  }
  if (isTask || isFailed) return { call, details: {} }
  const details: CallDetails = {
    lore:
      draw() < 0.4
        ? [{ entry: ENTRIES[favourite(ENTRIES.length)] ?? '', tokens: 60, isDropped: draw() < 0.08 }]
        : [],
    passages:
      draw() < 0.2
        ? [
            {
              document: DOCUMENTS[favourite(DOCUMENTS.length)] ?? '',
              chunk: '1',
              score: 0.4 + 0.5 * draw(),
              isUsed: draw() < 0.8,
            },
          ]
        : [],
  }
  return {
    call: { ...call, loreFired: details.lore?.length ?? 0, passages: details.passages?.length ?? null },
    details,
  }
}
