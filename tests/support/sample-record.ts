/** A call record; a test names only what it is about. */
import type { CallRecord } from '#analytics/record.ts'

export function sampleRecord(over: Partial<CallRecord> = {}): CallRecord {
  return {
    id: 'record-1',
    startedAtMs: 1_795_000_000_000,
    kind: 'turn',
    task: null,
    surface: 'api',
    keyId: 'key',
    person: null,
    chat: null,
    message: null,
    characterId: 'mira',
    characterVersion: 1,
    baseModel: 'base',
    upstream: 'http://model',
    streamed: false,
    status: 'ok',
    errorCode: null,
    finishReason: 'stop',
    contextTokens: 4_096,
    estimatedPromptTokens: 10,
    promptTokens: 9,
    completionTokens: 3,
    cachedTokens: null,
    tokensByPart: { persona: 5 },
    cutTurns: 0,
    prefixHash: null,
    firstTokenMs: null,
    totalMs: 12.25,
    loadMs: null,
    prefillMs: null,
    decodeMs: null,
    anatomy: null,
    ...over,
  }
}
