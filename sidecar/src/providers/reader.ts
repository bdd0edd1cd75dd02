/** How a driver reads the answers of its servers. */
import type { StopSignal } from '#base/stopping.ts'

export interface Step<State, Out> {
  state: State
  deltas: readonly Out[]
}

/** Cuts the bytes of an answer into the items that a reader understands. Throws AppError `upstream` for an overlong one. */
export interface Splitter<Item> {
  push(chunk: Uint8Array): readonly Item[]
  /** What is left when the bytes are over. */
  rest(): readonly Item[]
}

/** How a driver reads an answer: `step` and `end` are pure and throw AppError. */
export interface Reader<Item, State, Out> {
  /** The content types that an answer may have. */
  contentType: RegExp
  split(): Splitter<Item>
  start: State
  step(state: State, item: Item): Step<State, Out>
  /** Nothing that matters comes behind it. */
  isLast(out: Out): boolean
  /** The bytes are over: the last deltas, or AppError `upstream` if the answer is not. */
  end(state: State): readonly Out[]
}

export interface StreamRequest<Item, State, Out> {
  path: string
  /** Named in error messages. */
  model: string
  traceparent?: string | undefined
  /** May ask the server first, with a signal that ends with the call. */
  body: (signal: StopSignal) => unknown
  reader: Reader<Item, State, Out>
}
