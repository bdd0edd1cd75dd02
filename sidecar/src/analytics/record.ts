/** CallRecord: one wide row per model call. Numbers, ids and pseudonyms; never a word of what was said. */

import type { Anatomy } from '#store/tables.ts'

export type CallStatus = 'ok' | 'failed' | 'cancelled'

export interface CallRecord {
  /** The request id; also in the `x-request-id` header of the answer. */
  id: string
  startedAtMs: number
  /** `warm_up`: a persona that the model server reads before anybody asks. */
  kind: 'turn' | 'task' | 'embedding' | 'warm_up'
  /** Name of the task; null for a turn. */
  task: string | null
  surface: 'open-webui' | 'api'
  keyId: string
  /** HMAC of the person's id; null when nobody was named. */
  person: string | null
  /** HMAC of Open WebUI's chat id. */
  chat: string | null
  /** HMAC of Open WebUI's id of the answer: a rating finds the record by it. */
  message: string | null
  characterId: string | null
  characterVersion: number | null
  baseModel: string | null
  upstream: string | null
  streamed: boolean
  status: CallStatus
  /** An ErrorCode; null unless failed. */
  errorCode: string | null
  finishReason: string | null
  contextTokens: number | null
  estimatedPromptTokens: number | null
  promptTokens: number | null
  completionTokens: number | null
  cachedTokens: number | null
  /** Tokens by kind of part, as estimated. */
  tokensByPart: Record<string, number>
  cutTurns: number
  prefixHash: string | null
  firstTokenMs: number | null
  totalMs: number
  loadMs: number | null
  prefillMs: number | null
  decodeMs: number | null
  /** Null where there was no prompt: a greeting, a refusal. */
  anatomy: Anatomy | null
}

/** A thumb: +1 or −1, found again by the pseudonym of the rated answer. */
export interface Rating {
  /** Id of the feedback at its source; a later click on the same answer replaces the value. */
  id: string
  message: string
  value: number
  atMs: number
}
