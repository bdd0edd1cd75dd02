/** Watches one model call and becomes its CallRecord: numbers, ids and pseudonyms, never a word. */
import type { CallRecord, CallStatus } from '#analytics/record.ts'
import type { Spent } from '#gateway/limits.ts'
import type { Ask, Sampling } from '#prompt/ask.ts'
import type { Part, Prompt, Speaker } from '#prompt/prompt.ts'
import type { Delta, Told } from '#providers/provider.ts'
import type { Upstream } from '#providers/upstreams.ts'
import type { Anatomy } from '#store/tables.ts'

export interface JournalParts {
  /** HMAC of an id; `kind` keeps equal ids of different things apart. */
  pseudonym: (kind: 'person' | 'chat' | 'message', id: string) => string
  now: () => number
}

/** What was decided before the first byte was asked for. A greeting has a speaker, but no prompt and no server. */
export interface Decided {
  upstream?: Upstream
  prompt?: Prompt
  speaker?: Speaker
  sampling?: Sampling
}

const CHARACTERS_PER_TOKEN = 4

export class Journal {
  readonly #ask: Ask
  readonly #on: JournalParts
  readonly #startedAtMs: number
  #decided: Decided | undefined
  #firstTokenMs: number | null = null
  #isClosed = false
  #spokenCharacters = 0
  #done: Extract<Delta, { type: 'done' }> | undefined

  constructor(ask: Ask, on: JournalParts) {
    this.#ask = ask
    this.#on = on
    this.#startedAtMs = on.now()
  }

  decide(decided: Decided): void {
    this.#decided = decided
  }

  get decided(): Decided {
    return this.#decided ?? {}
  }

  see(delta: Told): void {
    if (delta.type === 'status') return
    if (delta.type === 'text' || delta.type === 'reasoning') this.#spokenCharacters += delta.text.length
    // A whole answer has no first token that anybody saw.
    if (this.#ask.stream) this.#firstTokenMs ??= this.#on.now() - this.#startedAtMs
    if (delta.type === 'done') this.#done = delta
  }

  /** True once the record was made: a call has one end. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What the call used, estimated where the model server did not come to say it: who leaves early has used something too. */
  spent({
    baseModel,
    promptTokens,
    estimatedPromptTokens,
    completionTokens,
    cachedTokens,
  }: CallRecord): Spent {
    return {
      model: baseModel,
      promptTokens: promptTokens ?? (this.#spokenCharacters > 0 ? estimatedPromptTokens : null),
      completionTokens: completionTokens ?? Math.ceil(this.#spokenCharacters / CHARACTERS_PER_TOKEN),
      cachedTokens,
    }
  }

  close(status: CallStatus, errorCode: string | null): CallRecord {
    this.#isClosed = true
    const { pseudonym, now } = this.#on
    const { person, conversation, task, isWarmUp } = this.#ask
    const named = (kind: 'person' | 'chat' | 'message', id: string | undefined) =>
      id === undefined ? null : pseudonym(kind, id)
    return {
      id: this.#ask.requestId,
      startedAtMs: this.#startedAtMs,
      kind: isWarmUp === true ? 'warm_up' : task === undefined ? 'turn' : 'task',
      task: task ?? null,
      surface: this.#ask.surface,
      keyId: this.#ask.keyId,
      person: named('person', person?.id),
      chat: named('chat', conversation.chatId),
      message: named('message', conversation.messageId),
      streamed: this.#ask.stream,
      status,
      errorCode,
      ...this.#decisions(),
      ...this.#outcome(),
      totalMs: now() - this.#startedAtMs,
    }
  }

  #decisions() {
    const { upstream, prompt, speaker, sampling = {} } = this.#decided ?? {}
    return {
      characterId: speaker?.characterId ?? null,
      characterVersion: speaker?.version ?? null,
      baseModel: upstream?.model.name ?? null,
      upstream: upstream?.provider.name ?? null,
      contextTokens: prompt?.budget.contextTokens ?? null,
      estimatedPromptTokens: prompt?.tokens ?? null,
      tokensByPart: prompt === undefined ? {} : tokensByPart(prompt),
      cutTurns: prompt?.cutTurns ?? 0,
      prefixHash: prompt?.prefixHash ?? null,
      anatomy: prompt === undefined ? null : anatomyOf(prompt, sampling),
    }
  }

  #outcome() {
    const { reason, usage, timings } = this.#done ?? {}
    return {
      finishReason: reason ?? null,
      promptTokens: usage?.promptTokens ?? null,
      completionTokens: usage?.completionTokens ?? null,
      cachedTokens: usage?.cachedTokens ?? null,
      firstTokenMs: this.#firstTokenMs,
      loadMs: timings?.loadMs ?? null,
      prefillMs: timings?.prefillMs ?? null,
      decodeMs: timings?.decodeMs ?? null,
    }
  }
}

/** Without texts. Of lore the reason is left out as well: it quotes the word that called an entry up. */
function anatomyOf({ parts, layout }: Prompt, sampling: Sampling): Anatomy {
  const { stop, ...numbers } = sampling
  return {
    layout,
    parts: parts
      .filter(({ kind }) => kind !== 'history')
      .map(({ kind, place, label, tokens, reason, dropped }) => ({
        kind,
        place,
        label,
        tokens,
        dropped,
        reason: kind === 'lore' && place === 'tail' ? 'called up by the conversation' : reason,
      })),
    history: historyOf(parts),
    options: { ...numbers, ...(stop && { stopStrings: stop.length }) },
  }
}

/** One line for all turns of a long chat. */
function historyOf(parts: readonly Part[]): Anatomy['history'] {
  const turns = parts.filter(({ kind }) => kind === 'history')
  const kept = turns.filter(({ dropped }) => !dropped)
  return {
    turns: turns.length,
    cutTurns: turns.length - kept.length,
    tokens: kept.reduce((sum, { tokens }) => sum + tokens, 0),
  }
}

function tokensByPart(prompt: Prompt): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const part of prompt.parts) {
    if (!part.dropped) sums[part.kind] = (sums[part.kind] ?? 0) + part.tokens
  }
  return sums
}
