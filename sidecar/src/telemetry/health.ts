/**
 * What /readyz says. Databases decide, but for that of the records while an outbox stands in for it; model servers and Redis
 * are reported, since a chat explains their absence itself, or goes on without.
 */
import type { RecorderState } from '#analytics/recorder.ts'
import { toAppError } from '#base/errors.ts'
import type { Health } from '#base/health.ts'
import type { Kv } from '#kv/kv.ts'
import type { IndexHealth } from '#knowledge/search-index.ts'
import type { UpstreamState } from '#providers/upstreams.ts'
import type { Store } from '#store/store.ts'

export interface HealthParts {
  /** The process is being stopped: it serves whom it has, and nobody new. */
  isLeaving: boolean
  stores: Readonly<Record<string, Pick<Store, 'ping'>>>
  records: {
    state: () => RecorderState
    store: Pick<Store, 'ping'>
    hasOutbox: boolean
    /** Answers are refused while none can be recorded. */
    isStrict: boolean
  }
  /** Undefined where this process shares its values with nobody. */
  redis: Pick<Kv, 'ping'> | undefined
  upstreams: () => UpstreamState[]
  knowledge: () => Promise<IndexHealth>
}

/** Whoever asks gives up sooner or later, and then knows nothing. */
const PATIENCE_MS = 2_000

export async function checkHealth({ isLeaving, ...on }: HealthParts): Promise<Health> {
  // At once: whoever asks is to send nobody here any more.
  if (isLeaving) return { status: 'unavailable', checks: { process: LEAVING } }
  const { stores, records, redis, upstreams, knowledge } = on
  const pinged = { ...stores, analytics: records.store, ...(redis !== undefined && { redis }) }
  const [pings, index] = await Promise.all([
    Promise.all(Object.entries(pinged).map(async ([name, part]) => [name, await answers(part)] as const)),
    within(knowledge(), KNOWLEDGE_SILENT),
  ])
  const checks: Health['checks'] = Object.fromEntries(pings)
  const state = records.state()
  checks['records'] = recordsCheck(state, records.isStrict)
  const mustAnswer = records.hasOutbox ? Object.keys(stores) : [...Object.keys(stores), 'analytics']
  const broken = mustAnswer.some((name) => checks[name]?.ok !== true) || (records.isStrict && state.isFailing)
  const worn = !checks['records'].ok || pings.some(([, { ok }]) => !ok)
  const states = upstreams()
  for (const server of states) checks[`model server ${server.name}`] = { ok: server.healthy }
  Object.assign(checks, checksOf(index))
  const silent = states.length === 0 || states.every((server) => !server.healthy)
  return { status: broken ? 'unavailable' : silent || worn ? 'degraded' : 'ready', checks }
}

type Check = Health['checks'][string]

const LEAVING: Check = { ok: false, message: 'Troupe is being stopped here; answers that run are finished' }

const SILENT: Check = { ok: false, message: 'It does not answer' }
const KNOWLEDGE_SILENT: IndexHealth = { words: SILENT, vectors: null, embedding: null }

const answers = ({ ping }: Pick<Store, 'ping'>): Promise<Check> =>
  within<Check>(
    ping().then(
      () => ({ ok: true }),
      (thrown: unknown) => ({ ok: false, message: toAppError(thrown).message }),
    ),
    SILENT,
  )

/** What it says in time, else this. */
const within = <T>(answer: Promise<T>, otherwise: T): Promise<T> =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(otherwise), PATIENCE_MS)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })

function recordsCheck(state: RecorderState, isStrict: boolean): Check {
  const { isFailing, isSpilling, isNearlyFull, pending, dropped, quarantined } = state
  const faults = [
    isFailing &&
      `neither the database nor the outbox takes records; ${isStrict ? 'chats are refused until one does' : `${String(dropped)} are lost`}`,
    !isFailing && dropped > 0 && `${String(dropped)} records were lost since the start`,
    isSpilling && `the database is slow or away; ${String(pending)} records wait in the outbox`,
    isNearlyFull && 'the outbox is nearly full',
    quarantined > 0 &&
      `${String(quarantined)} damaged files of the outbox were put aside beside it; look into its folder`,
  ].filter((fault) => fault !== false)
  return faults.length === 0 ? { ok: true } : { ok: false, message: faults.join('; ') }
}

/** None of them keeps a chat from being answered: without vectors words alone find passages, without words nothing does. */
function checksOf({ words, vectors, embedding }: IndexHealth): Health['checks'] {
  const checks: Health['checks'] = { 'knowledge words': words }
  if (vectors !== null) {
    const { kind, ...check } = vectors
    checks[`knowledge vectors ${kind}`] = check
  }
  if (embedding !== null) {
    const { model, ...check } = embedding
    checks[`embedding model ${model}`] = check
  }
  return checks
}
