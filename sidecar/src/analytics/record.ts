/** CallRecord: one wide row per model call. Numbers, ids and pseudonyms; never a word of what was said. */

import type { Anatomy } from '#store/analytics-tables.ts'

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
  /** Of the person, when the call was made; null when they are not known. */
  groups: string[] | null
  /** HMAC of Open WebUI's chat id. */
  chat: string | null
  /** HMAC of Open WebUI's id of the answer, or of the request's: a rating finds the record by it. Null for embeddings. */
  message: string | null
  /** HMAC of Open WebUI's id of the message that is answered: a second answer to it is a regeneration. */
  userMessage: string | null
  /** 1 for the first message of a person in a chat; null for what is no chat. */
  turn: number | null
  characterId: string | null
  characterVersion: number | null
  baseModel: string | null
  upstream: string | null
  streamed: boolean
  status: CallStatus
  /** An ErrorCode; null unless failed. */
  errorCode: string | null
  /** As the client saw it: a stream that fails in the middle began with 200. */
  httpStatus: number | null
  finishReason: string | null
  contextTokens: number | null
  estimatedPromptTokens: number | null
  promptTokens: number | null
  completionTokens: number | null
  /** Part of the completion tokens. */
  reasoningTokens: number | null
  /** Prompt tokens that the server did not read again. */
  cachedTokens: number | null
  /** Null where `cachedTokens` is. */
  cachedIsEstimate: boolean | null
  /** Tokens by kind of part, as estimated. */
  tokensByPart: Record<string, number>
  cutTurns: number
  /** Entries of lorebooks in the prompt, the constant ones included. */
  loreFired: number | null
  /** Passages of documents in the prompt; null where none were looked for. */
  passages: number | null
  topScore: number | null
  toolCalls: number | null
  prefixHash: string | null
  /** From the request to a prompt. */
  assembleMs: number | null
  /** In our queue before the model server. */
  queueMs: number | null
  firstTokenMs: number | null
  totalMs: number
  loadMs: number | null
  prefillMs: number | null
  decodeMs: number | null
  /** In millionths of the currency; null where no price is known. */
  costMicro: number | null
  /** Null where there was no prompt: a greeting, a refusal. */
  anatomy: Anatomy | null
}

/** An entry of a lorebook that a call was about. */
export interface LoreHit {
  /** The author's name of it. */
  entry: string
  tokens: number
  /** There was no room for it. */
  isDropped: boolean
}

/** A passage of a document that was found for a call. */
export interface PassageHit {
  document: string
  chunk: string
  score: number
  /** It stood in the prompt. */
  isUsed: boolean
}

/** What is kept beside a record, in tables of its own. */
export interface CallDetails {
  lore?: readonly LoreHit[] | undefined
  passages?: readonly PassageHit[] | undefined
}

export interface Recorded extends CallDetails {
  record: CallRecord
}

/** A thumb: +1 or −1, found again by the pseudonym of the rated answer. */
export interface Rating {
  /** Id of the feedback at its source; a later click on the same answer replaces the value. */
  id: string
  message: string
  value: number
  atMs: number
  /** Who says so, e.g. the page or program that the person used; Open WebUI where it is absent. */
  source?: string
}
