/** Vectors of texts, and the record of having made them. */
import type { CallRecord } from '#analytics/record.ts'
import { toAppError } from '#base/errors.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Embedding } from '#providers/provider.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

export interface EmbedWish {
  requestId: string
  keyId: string
  /** Name of a base model. */
  model: string
  texts: readonly string[]
  dimensions?: number
}

export interface EmbedParts {
  upstreams: Upstreams
  record: (record: CallRecord) => Promise<void>
  metrics: Metrics
  now: () => number
}

/** Resolves once the record is committed. Throws what `Upstreams.find` and `Provider.embed` throw. */
export type EmbedTexts = (wish: EmbedWish, signal: AbortSignal) => Promise<Embedding>

export function createEmbedTexts(on: EmbedParts): EmbedTexts {
  return async (wish, signal) => {
    const startedAtMs = on.now()
    const { requestId, keyId, model, texts, dimensions } = wish
    let upstream: Upstream | undefined
    const close = async (outcome: Pick<CallRecord, 'status' | 'errorCode' | 'promptTokens' | 'loadMs'>) => {
      const record = {
        ...UNUSED,
        ...{ id: requestId, startedAtMs, keyId, baseModel: model, ...outcome },
        upstream: upstream?.provider.name ?? null,
        contextTokens: upstream === undefined ? null : on.upstreams.profile(upstream).contextTokens,
        totalMs: on.now() - startedAtMs,
      }
      await on.record(record)
      on.metrics.callFinished({ ...record, model })
    }
    try {
      upstream = await on.upstreams.find(model)
      const { contextTokens } = on.upstreams.profile(upstream)
      const call = { model, texts, contextTokens, ...(dimensions === undefined ? {} : { dimensions }) }
      const embedding = await upstream.provider.embed(call, signal)
      const { tokens = null, loadMs = null } = embedding
      await close({ status: 'ok', errorCode: null, promptTokens: tokens, loadMs })
      return embedding
    } catch (thrown) {
      const { code } = toAppError(thrown)
      await close({
        status: code === 'cancelled' ? 'cancelled' : 'failed',
        errorCode: code,
        promptTokens: null,
        loadMs: null,
      })
      throw thrown
    }
  }
}

/** What a record of a chat has beside. */
const UNUSED = {
  kind: 'embedding',
  task: null,
  surface: 'api',
  person: null,
  chat: null,
  message: null,
  characterId: null,
  characterVersion: null,
  streamed: false,
  finishReason: null,
  estimatedPromptTokens: null,
  completionTokens: null,
  cachedTokens: null,
  tokensByPart: {},
  cutTurns: 0,
  prefixHash: null,
  firstTokenMs: null,
  prefillMs: null,
  decodeMs: null,
  anatomy: null,
} as const satisfies Partial<CallRecord>
