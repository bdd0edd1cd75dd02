/** Watches one model call and becomes its CallRecord: numbers, ids and pseudonyms, never a word. */
import type { CallDetails, CallRecord, CallStatus, LoreHit, PassageHit } from '#analytics/record.ts'
import type { ErrorCode } from '#base/errors.ts'
import type { Spent } from '#gateway/limits.ts'
import type { Ask, Sampling } from '#prompt/ask.ts'
import type { Part, Prompt, Speaker } from '#prompt/prompt.ts'
import type { Delta, Told } from '#providers/provider.ts'
import type { Upstream } from '#providers/upstreams.ts'
import type { Anatomy, LookedUp } from '#store/analytics-tables.ts'

export interface JournalParts {
  /** HMAC of an id; `kind` keeps equal ids of different things apart. */
  pseudonym: (kind: 'person' | 'chat' | 'message', id: string) => string
  /** Who objected or was erased is counted, but not known. */
  isHidden?: (personId: string) => boolean
  now: () => number
  /** The number that a client sees for a failure before the first byte. */
  httpStatusOf: (code: ErrorCode) => number
  /** In millionths of the currency; null where no price is known. */
  costOf: (call: CostBase) => number | null
}

/** What a price is worked out from. */
export interface CostBase {
  model: string
  promptTokens: number
  completionTokens: number
  cachedTokens: number
  /** Time in which the model server worked for this call; null where it does not tell. */
  busyMs: number | null
}

/** Side rows of one call; a lorebook of hundreds of constant entries must not make hundreds of rows. */
const MOST_HITS = 64

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
  #assembledAtMs: number | undefined
  #queueMs: number | null = null
  #firstTokenMs: number | null = null
  #toolCalls = 0
  #hasSpoken = false
  #passages: readonly PassageHit[] | undefined
  #lookedUp: LookedUp | undefined
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
    if (decided.prompt !== undefined) this.#assembledAtMs ??= this.#on.now()
  }

  /** How long the call waited for its turn at the model server. */
  queued(ms: number): void {
    this.#queueMs = ms
  }

  /** How passages were looked for. */
  searched(lookedUp: LookedUp | undefined): void {
    this.#lookedUp = lookedUp
  }

  /** What was looked up in documents, the best first; none found is told as well, undefined means that nobody looked. */
  found(passages: readonly PassageHit[] | undefined): void {
    this.#passages = passages
  }

  get decided(): Decided {
    return this.#decided ?? {}
  }

  see(delta: Told): void {
    if (delta.type === 'status' || delta.type === 'sources') return
    if (delta.type === 'text' || delta.type === 'reasoning') this.#spokenCharacters += delta.text.length
    // A whole answer has no first token that anybody saw.
    if (this.#ask.stream) this.#firstTokenMs ??= this.#on.now() - this.#startedAtMs
    this.#hasSpoken = true
    if (delta.type === 'tool') this.#toolCalls += 1
    if (delta.type === 'done') this.#done = delta
  }

  /** What is kept beside the record. */
  get details(): CallDetails {
    const prompt = this.#decided?.prompt
    const lore = prompt === undefined ? [] : loreOf(prompt.parts)
    return { lore, passages: this.#passages?.slice(0, MOST_HITS) }
  }

  /** True once the record was made: a call has one end. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What the call used, estimated where the model server did not come to say it: who leaves early has used something too. */
  spent(record: CallRecord): Spent {
    const { promptTokens, estimatedPromptTokens, completionTokens } = record
    return {
      model: record.baseModel,
      promptTokens: promptTokens ?? (this.#spokenCharacters > 0 ? estimatedPromptTokens : null),
      completionTokens: completionTokens ?? Math.ceil(this.#spokenCharacters / CHARACTERS_PER_TOKEN),
      cachedTokens: record.cachedTokens,
      busyMs: busyMsOf(record),
      isVain: record.status === 'failed' && this.#spokenCharacters === 0 && this.#toolCalls === 0,
    }
  }

  close(status: CallStatus, errorCode: ErrorCode | null): CallRecord {
    this.#isClosed = true
    const { pseudonym, now } = this.#on
    const { person, subUser, conversation, task, isWarmUp } = this.#ask
    const who = person?.id ?? subUser
    const isHidden = who !== undefined && this.#on.isHidden?.(who) === true
    const named = (kind: 'person' | 'chat' | 'message', id: string | undefined) =>
      id === undefined || isHidden ? null : pseudonym(kind, id)
    return {
      id: this.#ask.requestId,
      startedAtMs: this.#startedAtMs,
      kind: isWarmUp === true ? 'warm_up' : task === undefined ? 'turn' : 'task',
      task: task ?? null,
      surface: this.#ask.surface,
      keyId: this.#ask.keyId,
      person: named('person', who),
      groups: person?.groups === undefined || isHidden ? null : [...person.groups],
      chat: named('chat', conversation.chatId),
      // Without an id of its own an answer is known by its request.
      message: named('message', conversation.messageId ?? this.#ask.requestId),
      userMessage: named('message', conversation.userMessageId),
      turn: task === undefined ? turnOf(this.#ask) : null,
      streamed: this.#ask.stream,
      status,
      errorCode,
      httpStatus: this.#httpStatus(errorCode),
      ...this.#decisions(),
      anatomy: this.#anatomy(status),
      ...this.#outcome(),
      totalMs: now() - this.#startedAtMs,
    }
  }

  #httpStatus(errorCode: ErrorCode | null): number {
    if (errorCode === null || (this.#ask.stream && this.#hasSpoken)) return 200
    return this.#on.httpStatusOf(errorCode)
  }

  #decisions() {
    const { upstream, prompt, speaker } = this.#decided ?? {}
    const lore = prompt?.parts.filter(({ kind, dropped }) => kind === 'lore' && !dropped)
    return {
      assembleMs: this.#assembledAtMs === undefined ? null : this.#assembledAtMs - this.#startedAtMs,
      queueMs: this.#queueMs,
      loreFired: lore?.length ?? null,
      passages: this.#passages?.filter(({ isUsed }) => isUsed).length ?? null,
      topScore: this.#passages?.[0]?.score ?? null,
      characterId: speaker?.characterId ?? null,
      characterVersion: speaker?.version ?? null,
      baseModel: upstream?.model.name ?? null,
      upstream: upstream?.provider.name ?? null,
      contextTokens: prompt?.budget.contextTokens ?? null,
      estimatedPromptTokens: prompt?.tokens ?? null,
      tokensByPart: prompt === undefined ? {} : tokensByPart(prompt),
      cutTurns: prompt?.cutTurns ?? 0,
      prefixHash: prompt?.prefixHash ?? null,
    }
  }

  #anatomy(status: CallStatus): Anatomy | null {
    const { prompt, sampling = {} } = this.#decided ?? {}
    if (prompt === undefined) return null
    return {
      layout: prompt.layout,
      ...anatomyOf(prompt, sampling),
      ...(this.#lookedUp && { knowledge: this.#lookedUp }),
      ...(status !== 'ok' && { saidCharacters: this.#spokenCharacters }),
    }
  }

  #outcome() {
    const { reason, usage, timings } = this.#done ?? {}
    return {
      finishReason: reason ?? null,
      promptTokens: usage?.promptTokens ?? null,
      completionTokens: usage?.completionTokens ?? null,
      reasoningTokens: usage?.reasoningTokens ?? null,
      cachedTokens: usage?.cachedTokens ?? null,
      cachedIsEstimate: usage?.cachedTokens === undefined ? null : false,
      toolCalls: this.#done === undefined ? null : this.#toolCalls,
      costMicro: this.#cost(),
      firstTokenMs: this.#firstTokenMs,
      loadMs: timings?.loadMs ?? null,
      prefillMs: timings?.prefillMs ?? null,
      decodeMs: timings?.decodeMs ?? null,
    }
  }

  #cost(): number | null {
    const { usage, timings = {} } = this.#done ?? {}
    const model = this.#decided?.upstream?.model.name
    if (model === undefined || usage === undefined) return null
    const { promptTokens, completionTokens, cachedTokens = 0 } = usage
    return this.#on.costOf({ model, promptTokens, completionTokens, cachedTokens, busyMs: busyMsOf(timings) })
  }
}

/** Null where the model server told nothing of its time. */
function busyMsOf({
  loadMs,
  prefillMs,
  decodeMs,
}: Partial<Record<'loadMs' | 'prefillMs' | 'decodeMs', number | null | undefined>>): number | null {
  if (prefillMs == null && decodeMs == null) return null
  return (loadMs ?? 0) + (prefillMs ?? 0) + (decodeMs ?? 0)
}

/** Every request brings the whole chat, so its turns can be counted; base models and completions are asked once. */
function turnOf({ messages }: Ask): number | null {
  const turns = messages.filter(({ role }) => role === 'user').length
  return turns === 0 ? null : turns
}

function loreOf(parts: readonly Part[]): LoreHit[] {
  return parts
    .filter(({ kind }) => kind === 'lore')
    .slice(0, MOST_HITS)
    .map(({ label, tokens, dropped }) => ({ entry: label, tokens, isDropped: dropped }))
}

/** Without texts. Of lore the reason is left out as well: it quotes the word that called an entry up. */
function anatomyOf({ parts }: Prompt, sampling: Sampling): Omit<Anatomy, 'layout'> {
  const { stop, ...numbers } = sampling
  return {
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
    options: stop === undefined ? numbers : { stopStrings: stop.length, ...numbers },
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
