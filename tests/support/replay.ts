/** Recorded streams, and a way to read them through a provider's reducer without a server. */
import { readFileSync } from 'node:fs'

import type { Reader, Splitter } from '#providers/reader.ts'
import type { Delta } from '#providers/provider.ts'

export const recorded = (name: string): Buffer =>
  readFileSync(new URL(`../fixtures/streams/${name}`, import.meta.url))

/** The bytes as a network hands them out: in the given pieces. */
export async function* inPieces(
  ...pieces: readonly (Uint8Array | string)[]
): AsyncGenerator<Uint8Array, void, undefined> {
  for (const piece of pieces)
    yield await Promise.resolve(typeof piece === 'string' ? Buffer.from(piece) : piece)
}

export async function* split<Item>(splitter: Splitter<Item>, bytes: AsyncIterable<Uint8Array>) {
  for await (const chunk of bytes) yield* splitter.push(chunk)
  yield* splitter.rest()
}

export async function replay<Item, State>(
  reader: Reader<Item, State, Delta>,
  bytes: AsyncIterable<Uint8Array>,
): Promise<Delta[]> {
  const deltas: Delta[] = []
  let state = reader.start
  for await (const item of split(reader.split(), bytes)) {
    const step = reader.step(state, item)
    state = step.state
    deltas.push(...step.deltas)
    if (step.deltas.at(-1)?.type === 'done') return deltas
  }
  return [...deltas, ...reader.end(state)]
}

export const textOf = (deltas: readonly Delta[]): string =>
  deltas.map((delta) => (delta.type === 'text' ? delta.text : '')).join('')

export async function allOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
