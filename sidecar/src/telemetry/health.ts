/** What /readyz says. Databases decide; model servers and Open WebUI are reported, since a chat explains their absence itself. */
import { toAppError } from '#base/errors.ts'
import type { Health } from '#base/health.ts'
import type { IndexHealth } from '#knowledge/search-index.ts'
import type { UpstreamState } from '#providers/upstreams.ts'
import type { Store } from '#store/store.ts'

export interface HealthParts {
  stores: Readonly<Record<string, Pick<Store, 'ping'>>>
  upstreams: () => UpstreamState[]
  knowledge: () => Promise<IndexHealth>
}

export async function checkHealth({ stores, upstreams, knowledge }: HealthParts): Promise<Health> {
  const checks: Health['checks'] = {}
  for (const [name, store] of Object.entries(stores)) {
    checks[name] = await store.ping().then(
      () => ({ ok: true }),
      (thrown: unknown) => ({ ok: false, message: toAppError(thrown).message }),
    )
  }
  const broken = Object.values(checks).some((check) => !check.ok)
  const states = upstreams()
  for (const state of states) checks[`model server ${state.name}`] = { ok: state.healthy }
  Object.assign(checks, checksOf(await knowledge()))
  const silent = states.length === 0 || states.every((state) => !state.healthy)
  return { status: broken ? 'unavailable' : silent ? 'degraded' : 'ready', checks }
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
