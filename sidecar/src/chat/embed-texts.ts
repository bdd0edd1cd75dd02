/** Vectors of texts, and the record of having made them. */
import type { CallRecord } from '#analytics/record.ts'
import { endedBy, toAppError, type ErrorCode } from '#base/errors.ts'
import type { Metrics } from '#base/metrics.ts'
import type { StopSignal } from '#base/stopping.ts'
import type { Trail } from '#base/trail.ts'
import type { Ask } from '#prompt/ask.ts'
import type { Embedding } from '#providers/provider.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

import type { JournalParts } from './journal.ts'

export interface EmbedWish extends Pick<Ask, 'extra' | 'subUser'> {
  requestId: string
  keyId: string
  /** Name of a base model. */
  model: string
  texts: readonly string[]
  dimensions?: number
  trail: Pick<Trail, 'ignored'>
}

export interface EmbedParts extends Pick<JournalParts, 'pseudonym' | 'isHidden'> {
  upstreams: Upstreams
  record: (record: CallRecord) => Promise<void>
  metrics: Metrics
  now: () => number
  httpStatusOf: (code: ErrorCode) => number
}

/** Servers that are asked for the same vectors, one after the other, while each of them is down or fails. */
const MOST_SERVERS = 3

/** Vectors may be asked for twice; a request that one server refuses as wrong is wrong everywhere. */
const WORTH_ANOTHER_SERVER = new Set<ErrorCode>(['unavailable', 'upstream'])

/** Resolves once the record is committed. Throws what `Upstreams.find` and `Provider.embed` throw. */
export type EmbedTexts = (wish: EmbedWish, signal: StopSignal) => Promise<Embedding>

export function createEmbedTexts(on: EmbedParts): EmbedTexts {
  return async (wish, signal) => {
    const startedAtMs = on.now()
    const { requestId, keyId, model, texts, dimensions, extra, trail } = wish
    let upstream: Upstream | undefined
    const embed = async () => {
      let failure: unknown
      for (upstream of (await on.upstreams.all(model)).slice(0, MOST_SERVERS)) {
        const { contextTokens } = on.upstreams.profile(upstream)
        const asked = { model: upstream.model.name, texts, contextTokens, extra }
        const { provider } = upstream
        try {
          const embedding = await provider.embed({ ...asked, ...(dimensions && { dimensions }) }, signal)
          trail.ignored(provider.ignores?.(asked) ?? [])
          return embedding
        } catch (thrown) {
          failure = thrown
          if (signal.aborted || !WORTH_ANOTHER_SERVER.has(toAppError(thrown).code)) break
        }
      }
      throw failure
    }
    const close = async (outcome: {
      status: CallRecord['status']
      errorCode: ErrorCode | null
      promptTokens: number | null
      loadMs: number | null
    }) => {
      const record = {
        ...UNUSED,
        ...{ id: requestId, startedAtMs, keyId, baseModel: upstream?.model.name ?? null, ...outcome },
        person: personOf(wish, on),
        httpStatus: outcome.errorCode === null ? 200 : on.httpStatusOf(outcome.errorCode),
        upstream: upstream?.provider.name ?? null,
        contextTokens: upstream === undefined ? null : on.upstreams.profile(upstream).contextTokens,
        totalMs: on.now() - startedAtMs,
      }
      await on.record(record)
      // Never what the client wrote: a label is kept for ever, and so are the figures of a model.
      on.metrics.callFinished({ ...record, model: record.baseModel ?? 'none' })
    }
    try {
      const embedding = await embed()
      const { tokens = null, loadMs = null } = embedding
      await close({ status: 'ok', errorCode: null, promptTokens: tokens, loadMs })
      return embedding
    } catch (thrown) {
      const error = endedBy(signal) ?? toAppError(thrown)
      const { code } = error
      await close({
        status: code === 'cancelled' ? 'cancelled' : 'failed',
        errorCode: code,
        promptTokens: null,
        loadMs: null,
      })
      throw error
    }
  }
}

/** Whoever of those behind a key asks, for figures; who objected or was erased is counted, but not known. */
const personOf = ({ subUser }: EmbedWish, on: EmbedParts): string | null =>
  subUser === undefined || on.isHidden?.(subUser) === true ? null : on.pseudonym('person', subUser)

/** What a record of a chat has beside. */
const UNUSED = {
  kind: 'embedding',
  task: null,
  surface: 'api',
  groups: null,
  chat: null,
  message: null,
  userMessage: null,
  turn: null,
  characterId: null,
  characterVersion: null,
  streamed: false,
  finishReason: null,
  estimatedPromptTokens: null,
  completionTokens: null,
  reasoningTokens: null,
  cachedTokens: null,
  cachedIsEstimate: null,
  tokensByPart: {},
  cutTurns: 0,
  loreFired: null,
  passages: null,
  topScore: null,
  toolCalls: null,
  assembleMs: null,
  queueMs: null,
  costMicro: null,
  prefixHash: null,
  firstTokenMs: null,
  prefillMs: null,
  decodeMs: null,
  anatomy: null,
} as const satisfies Partial<CallRecord>
