/**
 * The reload observatory: which request made a model server load a model, and why it had to. A load costs seconds to minutes
 * for everybody who waits for the model, and the usual causes (another window, a second program) are seen nowhere else.
 */
import { and, desc, eq, gte, isNotNull, lt } from 'drizzle-orm'

import type { Store } from '#store/store.ts'

import type { CallRecord } from './record.ts'

/** Ollama tells some milliseconds for a model that is loaded, and no model loads so fast. */
export const LOAD_MS = 250

/** As long as Ollama keeps a model without work, unless it is told otherwise. */
const KEPT_MS = 300_000

const MOST_LOADS = 200

/**
 * `first`: no earlier call of the model is known. `window`: the call before asked for another one. `idle`: nobody had asked
 * for so long that the server may have put it away. `elsewhere`: none of these, so another program asked the server for
 * another window, another model needed the memory, or the server was started anew.
 */
export type LoadCause = 'first' | 'window' | 'idle' | 'elsewhere'

export interface ModelLoad extends Pick<
  CallRecord,
  'kind' | 'task' | 'keyId' | 'characterId' | 'contextTokens'
> {
  /** Null for what Troupe asked of itself. */
  surface: CallRecord['surface'] | null
  requestId: string
  atMs: number
  server: string
  model: string
  loadMs: number
  cause: LoadCause
}

type Row = Awaited<ReturnType<typeof readLoads>>[number]

/** Newest first, the newest 200 at most. Calls that waited for the same load are told once, by the first of them. */
export async function findLoads(store: Store, sinceMs: number): Promise<ModelLoad[]> {
  const rows = (await readLoads(store, sinceMs)).reverse()
  const loads: ModelLoad[] = []
  const loadedAtMs = new Map<string, number>()
  for (const row of rows) {
    const { id: requestId, startedAtMs: atMs, upstream: server, baseModel: model, loadMs, totalMs } = row
    if (server === null || model === null || loadMs === null) continue
    const key = `${server} ${model}`
    const before = loadedAtMs.get(key) ?? 0
    loadedAtMs.set(key, Math.max(before, atMs + Math.min(loadMs, totalMs)))
    if (atMs < before) continue
    const cause = await causeOf(store, row)
    loads.push({ ...shown(row), requestId, atMs, server, model, loadMs, cause })
  }
  return loads.reverse()
}

const shown = ({ kind, task, surface, keyId, characterId, contextTokens }: Row) => ({
  kind: kind as CallRecord['kind'],
  // Recorded as one of Open WebUI, whose cache it fills; nobody there asked.
  surface: kind === 'warm_up' ? null : (surface as CallRecord['surface']),
  ...{ task, keyId, characterId, contextTokens },
})

function readLoads({ db, t: { callRecords: calls } }: Store, sinceMs: number) {
  const { id, startedAtMs, kind, task, surface, keyId, characterId, contextTokens } = calls
  const { upstream, baseModel, loadMs, totalMs } = calls
  return db
    .select({
      ...{ id, startedAtMs, kind, task, surface, keyId, characterId, contextTokens },
      ...{ upstream, baseModel, loadMs, totalMs },
    })
    .from(calls)
    .where(and(gte(calls.startedAtMs, sinceMs), gte(calls.loadMs, LOAD_MS)))
    .orderBy(desc(calls.startedAtMs))
    .limit(MOST_LOADS)
}

async function causeOf({ db, t: { callRecords: calls } }: Store, load: Row): Promise<LoadCause> {
  if (load.upstream === null || load.baseModel === null) return 'first'
  const [before] = await db
    .select({ startedAtMs: calls.startedAtMs, totalMs: calls.totalMs, contextTokens: calls.contextTokens })
    .from(calls)
    .where(
      and(
        eq(calls.upstream, load.upstream),
        eq(calls.baseModel, load.baseModel),
        isNotNull(calls.contextTokens),
        lt(calls.startedAtMs, load.startedAtMs),
      ),
    )
    .orderBy(desc(calls.startedAtMs))
    .limit(1)
  if (before === undefined) return 'first'
  if (before.contextTokens !== load.contextTokens) return 'window'
  const idleMs = load.startedAtMs - (before.startedAtMs + before.totalMs)
  return idleMs >= KEPT_MS ? 'idle' : 'elsewhere'
}
