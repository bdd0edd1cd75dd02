/** A provider is a kind of model server. One file per kind, one line in `index.ts`; `tests/contract` holds them all to this. */
import type { StopSignal } from '#base/stopping.ts'
import type { ChatMessage, CompletionPrompt, Sampling, Thinking, ToolCall, ToolSpec } from '#prompt/ask.ts'
import type { Passage } from '#prompt/passages.ts'

export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter'

export interface Usage {
  promptTokens: number
  completionTokens: number
  /** Prompt tokens that the server did not have to read again; absent where it does not say. */
  cachedTokens?: number
  /** Part of the completion tokens; absent where the server does not say. */
  reasoningTokens?: number
}

/** Times the server measured itself, in milliseconds; absent where it does not say. */
export interface ServerTimings {
  loadMs?: number
  prefillMs?: number
  decodeMs?: number
}

/** How likely a token was: an item of OpenAI's `logprobs.content`, as the server wrote it. */
export type TokenLogprob = Readonly<Record<string, unknown>>

export type Delta =
  | { type: 'text'; text: string; logprobs?: readonly TokenLogprob[] }
  | { type: 'reasoning'; text: string }
  | { type: 'tool'; call: ToolCall; index: number }
  | { type: 'done'; reason: FinishReason; usage?: Usage; timings?: ServerTimings }

/** Something to tell a person who waits; no part of an answer. */
export interface Notice {
  type: 'status'
  text: string
  /** The waiting is over. */
  isDone: boolean
}

/** Who waits for an answer to begin. */
export interface Listener {
  /** As for `Provider.stream`. */
  readonly signal: StopSignal
  /** False for one that has left: nothing is to be begun for it any more. */
  readonly isThere: boolean
  tell(notice: Notice): void
}

/** What the model was given to look things up in, before the answer that may cite it. */
export interface Cited {
  type: 'sources'
  passages: readonly Passage[]
}

/** What a turn hands out. */
export type Told = Delta | Notice | Cited

export const isDone = ({ type }: Delta): boolean => type === 'done'

export interface ModelCall {
  /** Name of the base model on this server. */
  model: string
  messages: readonly ChatMessage[]
  /** Instead of the messages: a text to go on with, without any chat template. */
  prompt?: CompletionPrompt
  /** False asks for the whole answer at once, which costs server and us less; the deltas then come together. */
  stream: boolean
  sampling: Sampling
  /** Equal in every request for one base model: Ollama reloads the model when it differs. */
  contextTokens: number
  /** Bound of the answer's length, in tokens. */
  maxTokens: number
  /** Tokens at the beginning that must survive if the server ever shifts its window. */
  keepTokens: number
  tools: readonly ToolSpec[]
  toolChoice?: unknown
  responseFormat?: unknown
  /** Whether a model that can think does so, or how hard; absent leaves it off where the server lets us. */
  thinking?: Thinking
  /** How likely each token was is wanted, with so many others that were likely. */
  logprobs?: { top: number }
  /**
   * Calls with the same one may profit from what the server read for each other; with another one they cannot even tell by
   * the time it takes whether somebody asked the same before. Absent shares with everybody; only vLLM keeps them apart.
   */
  cacheSalt?: string
  /** Unknown body fields of the client, for `/v1` servers only. */
  extra: Readonly<Record<string, unknown>>
  /** For the server's own traces (w3.org/TR/trace-context). */
  traceparent?: string
}

export interface BaseModel {
  name: string
  /** The largest window the server offers for it; absent where it does not say. */
  contextTokens?: number
  /** False for models that only embed. */
  chats: boolean
  /** Whether it takes pictures, and tools; absent where the server does not say. */
  sees?: boolean
  usesTools?: boolean
  /** Calls that the server runs at the same time; absent where it does not say. */
  parallel?: number
  /** Calls of anybody that wait there for their turn, when the list was made; absent where it does not say. */
  waiting?: number
}

/** A model that a server has in its memory now. What it does not say is absent. */
export interface LoadedModel {
  name: string
  /** The window with which it was loaded; every call that asks for another one makes it load again. */
  contextTokens?: number
  sizeBytes?: number
  /** Part of the size that lies in the memory of graphics cards. */
  gpuBytes?: number
  /** When it is put away if nobody asks, in milliseconds of the epoch. */
  untilMs?: number
}

/** A model of one's own, made on the server from another one or from files that it was given. */
export interface ModelWish {
  name: string
  /** The model that it is made from; or `files`. */
  from?: string
  /** Names of files with the digests under which the server was given them. */
  files?: Readonly<Record<string, string>>
  adapters?: Readonly<Record<string, string>>
  system?: string
  template?: string
  parameters?: Readonly<Record<string, unknown>>
}

/** How far a pull is. Both counts grow: Ollama tells of a layer when its turn comes, the largest first. */
export interface PullProgress {
  /** What the server is doing, in its own words. */
  status: string
  /** Of all layers together, those that it had already included. */
  completedBytes: number
  totalBytes: number
}

/** Where models can be made. Everything throws as `Provider.models` does, and `invalid` for what the server refuses. */
export interface ModelMaker {
  has(digest: string, signal: AbortSignal): Promise<boolean>
  /** Streams a file to the server, which checks the digest (`sha256:…`). */
  put(digest: string, bytes: AsyncIterable<Uint8Array>, sizeBytes: number, signal: AbortSignal): Promise<void>
  /** Resolves when the model can be asked. */
  make(wish: ModelWish, signal: AbortSignal): Promise<void>
  /**
   * Lets the server fetch a model from its registry, and ends when the model can be asked. Throws `model_not_found` where
   * the registry does not have it and `upstream` where it does not answer. A pull that was left or that failed goes on
   * from the bytes it has when it is asked for again.
   */
  pull(name: string, signal: AbortSignal): AsyncGenerator<PullProgress, void, undefined>
}

export interface Embedding {
  /** One vector for each text, in their order. */
  vectors: readonly (readonly number[])[]
  /** Absent where the server does not say. */
  tokens?: number
  /** As in `ServerTimings`. */
  loadMs?: number
}

export interface EmbedCall {
  model: string
  texts: readonly string[]
  /** Length of the vectors, for models that can shorten them. */
  dimensions?: number
  /** As in `ModelCall`. */
  contextTokens: number
  /** As in `ModelCall`; absent for our own work. */
  extra?: Readonly<Record<string, unknown>>
}

export interface Provider {
  /** Name of the driver, e.g. `ollama`. */
  readonly kind: string
  /** Tells servers apart that share an origin (another path, another key); the same at every start, and nothing to show. */
  readonly id: string
  /** Origin of the server for people and records, without credentials, e.g. `http://127.0.0.1:11434`. */
  readonly name: string
  /** Lists the models. Throws AppError `unavailable` (no answer) or `upstream` (an answer that is not understood). */
  models(signal: AbortSignal): Promise<BaseModel[]>
  /**
   * Streams one answer. Ends with exactly one `done`, which carries the usage if the server reports it.
   * Throws AppError before or after any delta: `unavailable` (no connection), `model_not_found`, `context_length`,
   * `upstream` (refused, died or spoke nonsense), `upstream_timeout`, `too_large`. Closes its connection within 100 ms when
   * `signal` aborts or the consumer leaves the loop, and then throws `cancelled` (or simply returns if the consumer left).
   */
  stream(call: ModelCall, signal: StopSignal): AsyncGenerator<Delta, void, undefined>
  /** Fields of the client's request that its servers have no word for; absent where they take everything. */
  ignores?(call: Pick<ModelCall, 'model' | 'extra' | 'toolChoice' | 'responseFormat' | 'thinking'>): string[]
  /**
   * How many tokens a text is for a model; undefined where the server does not tell. Throws as `models` does. Absent where
   * no server of the kind tells.
   */
  countTokens?(model: string, text: string, signal: AbortSignal): Promise<number | undefined>
  /** What is in memory now. Throws as `models` does. Absent where no server of the kind tells. */
  loaded?(signal: AbortSignal): Promise<LoadedModel[]>
  /**
   * Vectors of texts. Never of the beginning of a text alone: one that is too long for the model is `context_length`.
   * Throws as `stream`.
   */
  embed(call: EmbedCall, signal: StopSignal): Promise<Embedding>
  /** Absent where models cannot be made. */
  readonly maker?: ModelMaker
  close(): Promise<void>
}

export interface ProviderOptions {
  baseUrl: string
  apiKey?: string
  /** Time to connect, in milliseconds (reliability: 2,000). */
  connectTimeoutMs: number
  /** Time until the first byte of an answer; long, since a server may load a model first (300,000). */
  headersTimeoutMs: number
  /** Longest silence between two chunks (45,000; the first token may take headersTimeoutMs). */
  idleTimeoutMs: number
  /** Longest time for a whole answer; absent for no bound. */
  totalTimeoutMs?: number
  /** How long a model stays in memory without work, -1 for ever; absent leaves it to the server. For Ollama only. */
  keepAliveSeconds?: number
}

/** What a driver file exports as its default. */
export interface ProviderDriver {
  open(options: ProviderOptions): Provider
}
