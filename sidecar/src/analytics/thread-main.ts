/**
 * The thread of the figures: rolls records up, forgets old ones and answers what the dashboard asks. On a thread of its own,
 * since SQLite works where it is called, and a year of roll-ups takes longer than an open stream may stand still.
 */
import { parentPort, workerData } from 'node:worker_threads'

import { toAppError } from '#base/errors.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { createCalendar } from './calendar.ts'
import type { Figure, FigureQuery } from './figures/figure.ts'
import { makeFigure } from './figures/figures.ts'
import { createRollUp } from './roll-up/roll-up.ts'
import type { FigureDesk, FiguresOptions, ToThread } from './thread.ts'

/** Rolling up takes at most a tenth of the time. */
const LEAST_PAUSE = 9

const FORGET_EVERY_MS = 3_600_000

const options = workerData as FiguresOptions
const store = await openStore(options.url, { connections: options.connections, mayBeAway: true })
const replica =
  options.replicaUrl === undefined
    ? undefined
    : await openStore(options.replicaUrl, { connections: options.connections, isReplica: true })
const calendar = createCalendar(options.timeZone, Date.now())
const rollUp = createRollUp({ store, calendar, now: () => store.nowMs(), retention: options.retention })

let running: Promise<void> | undefined
let forgottenAtMs = 0

/** One at a time: who asks while one runs waits for that one and for another. */
async function bringUpToDate(): Promise<void> {
  while (running !== undefined) await running
  running = (async () => {
    await rollUp.run()
    if (Date.now() - forgottenAtMs < FORGET_EVERY_MS) return
    while (await rollUp.forget());
    forgottenAtMs = Date.now()
  })().finally(() => {
    running = undefined
  })
  await running
}

async function keepUpToDate(): Promise<void> {
  const startedAtMs = performance.now()
  try {
    await bringUpToDate()
    parentPort?.postMessage({ trouble: null })
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    parentPort?.postMessage({ trouble: { code, message } })
  }
  const pauseMs = Math.max(options.everyMs, (performance.now() - startedAtMs) * LEAST_PAUSE)
  setTimeout(() => void keepUpToDate(), pauseMs)
}

async function answer(query: FigureQuery): Promise<Figure> {
  const make = (from: Store) => makeFigure(query, { store: from, calendar, now: Date.now })
  if (replica === undefined) return make(store)
  const position = await store.position().catch(() => undefined)
  const lagMs = await replica.lagMs(position).catch(() => null)
  const told = ({ base, ...figure }: Figure, source: 'primary' | 'replica'): Figure => ({
    ...figure,
    base: { ...base, source, replicaLagMs: lagMs },
  })
  // While the primary is away the standby is what there is; its figures say how old they are.
  const isUsable = lagMs !== null && (position === undefined || lagMs <= options.mostLagMs)
  if (query.mustBeWhole !== true && isUsable)
    try {
      return told(await make(replica), 'replica')
    } catch (thrown) {
      // A standby breaks off what is in the way of its changes, and may not have our newest tables yet.
      if (toAppError(thrown).code === 'invalid') throw thrown
    }
  return told(await make(store), 'primary')
}

const desk: Omit<FigureDesk, 'close' | 'calendar'> = { figure: answer, bringUpToDate }

parentPort?.on('message', ({ id, name, argument }: ToThread) => {
  const work = name === 'figure' ? desk.figure(argument) : desk.bringUpToDate()
  work.then(
    (result) => parentPort?.postMessage({ id, result }),
    (thrown: unknown) => {
      const { code, message, param } = toAppError(thrown)
      parentPort?.postMessage({ id, error: { code, message, param } })
    },
  )
})

void keepUpToDate()
