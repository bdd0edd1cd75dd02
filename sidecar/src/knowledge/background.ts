/**
 * What is done for whole bases when there is time: cutting them anew, and reading them by meaning when a model is set, when
 * it changes, or when its server comes back. One base after the other.
 */
import { and, eq, inArray, isNotNull, isNull, lt, or, sql } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'

import { CUT_VERSION, recut, type RecutParts } from './recut.ts'

const LOOK_EVERY_MS = 30_000

/** How long a base stays held by a process that died. */
const HELD_MS = 60_000

export interface Background {
  /** There may be something to do. */
  wake(): void
  /** Ends the work on a base, for a build that begins anew. */
  abort(baseId: string): Promise<void>
  close(): Promise<void>
}

interface BackgroundParts extends RecutParts {
  /** See `ReadingParts`. */
  leaseMs: number
  wakeReading(): void
}

export function openBackground(on: BackgroundParts): Background {
  const { store, index, log, now } = on
  const { knowledgeBases: bases, knowledgeDocuments: documents } = store.t
  const closing = new AbortController()
  let isClosed = false
  /** How often somebody said that there may be something to do. */
  let wakes = 0
  let working: Promise<void> | undefined
  let current: { baseId: string; controller: AbortController; ended: Promise<unknown> } | undefined

  async function work(baseId: string, task: (signal: AbortSignal) => Promise<void>): Promise<void> {
    if (isClosed || !(await hold(baseId))) return
    const controller = new AbortController()
    const holding = setInterval(() => {
      hold(baseId).catch(() => undefined) // The next time may come through; until then nobody else begins.
    }, HELD_MS / 3)
    const ended = task(controller.signal)
      .catch((thrown: unknown) => {
        const { code, cause } = toAppError(thrown)
        if (code !== 'cancelled')
          log.warn(
            { knowledgeBase: baseId, errorCode: code, error: cause },
            'work on a knowledge base broke off; it is tried again',
          )
      })
      .finally(() => clearInterval(holding))
    current = { baseId, controller, ended }
    await ended
    current = undefined
    await store.db.update(bases).set({ busyUntilMs: null }).where(eq(bases.id, baseId))
  }

  /** False when another process works on it. */
  async function hold(baseId: string): Promise<boolean> {
    const isMine = current?.baseId === baseId || on.leaseMs === 0
    const free = or(isNull(bases.busyUntilMs), lt(bases.busyUntilMs, now()))
    const held = await store.db
      .update(bases)
      .set({ busyUntilMs: now() + HELD_MS })
      .where(and(eq(bases.id, baseId), isMine ? undefined : free))
      .returning({ id: bases.id })
    return held.length > 0
  }

  async function look(): Promise<void> {
    for (let seen = -1; seen !== wakes && !isClosed;) {
      seen = wakes
      await store.db
        .update(bases)
        .set({ buildingGeneration: sql`${bases.generation} + 1` })
        .where(and(lt(bases.cutVersion, CUT_VERSION), isNull(bases.buildingGeneration)))
      const toCut = await store.db
        .select({ id: bases.id })
        .from(bases)
        .where(and(isNotNull(bases.buildingGeneration), isNull(bases.deletedAtMs)))
      for (const { id } of toCut)
        await work(id, async (signal) => {
          await recut(on, id, signal)
          on.wakeReading()
        })
      await readByMeaning()
    }
  }

  async function readByMeaning(): Promise<void> {
    const fingerprint = await index.embeddings.fingerprint(closing.signal).catch(() => null) // Words answer meanwhile.
    if (fingerprint === null) return
    const behind = await store.db
      .select({ id: bases.id })
      .from(bases)
      .innerJoin(documents, and(eq(documents.baseId, bases.id), eq(documents.state, 'ready')))
      .where(
        and(
          isNull(bases.deletedAtMs),
          or(
            isNull(bases.fingerprint),
            sql`${bases.fingerprint} <> ${fingerprint}`,
            lt(documents.chunksEmbedded, documents.chunksTotal),
          ),
        ),
      )
      .groupBy(bases.id)
    for (const { id } of behind) await work(id, (signal) => embed(id, signal))
  }

  async function embed(baseId: string, signal: AbortSignal): Promise<void> {
    const ready = await store.db
      .select({ id: documents.id })
      .from(documents)
      .where(and(eq(documents.baseId, baseId), eq(documents.state, 'ready')))
    const { fingerprint } = await index.embedBase(baseId, { signal })
    if (fingerprint === null) return
    await store.atomically((db) => [
      db
        .update(bases)
        .set({ fingerprint, revision: sql`${bases.revision} + 1`, updatedAtMs: now() })
        .where(eq(bases.id, baseId)),
      db
        .update(documents)
        .set({ chunksEmbedded: sql`${documents.chunksTotal}` })
        .where(
          inArray(
            documents.id,
            ready.map(({ id }) => id),
          ),
        ),
    ])
    await index.forgetOtherVectors(baseId)
    log.info({ knowledgeBase: baseId }, 'a knowledge base was read by its embedding model')
  }

  function wake(): void {
    wakes += 1
    if (isClosed) return
    working ??= look()
      .catch((thrown: unknown) => {
        log.warn(
          { errorCode: toAppError(thrown).code },
          'the knowledge bases cannot be looked through; it is tried again',
        )
      })
      .finally(() => (working = undefined))
  }

  const timer = setInterval(wake, LOOK_EVERY_MS).unref()
  wake()
  return {
    wake,
    async abort(baseId) {
      if (current?.baseId !== baseId) return
      current.controller.abort()
      await current.ended
    },
    async close() {
      isClosed = true
      clearInterval(timer)
      closing.abort()
      current?.controller.abort()
      await working
    },
  }
}
