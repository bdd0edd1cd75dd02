import { call, json, sent } from './calling.ts'
import { fields, list, numeral, text } from './reading.ts'

export interface Version {
  number: number
  /** Why it was made, or empty. */
  note: string
  createdBy: string
  createdAtMs: number
  /** Null for one that never answered. */
  publishedAtMs: number | null
}

/** Where two versions of a card differ; what one of them has not is empty. */
export interface Difference {
  path: string
  before: string
  after: string
}

/** Newest first. */
export async function readVersions(id: string): Promise<Version[]> {
  const { versions } = fields(await json(await call(`/characters/${encodeURIComponent(id)}/versions`)))
  return list(versions).map(readVersion).toReversed()
}

/** Lets a version answer: a newer one is published, an older one rolled back to. */
export async function answerWith(id: string, version: number, how: 'publish' | 'rollback'): Promise<void> {
  await call(`/characters/${encodeURIComponent(id)}/${how}`, sent({ version }))
}

export async function readDifferences(id: string, from: number, to: number): Promise<Difference[]> {
  const answer = await call(`/characters/${encodeURIComponent(id)}/diff?from=${from}&to=${to}`)
  return list(fields(await json(answer))['differences']).map(readDifference)
}

function readVersion(value: unknown): Version {
  const row = fields(value)
  return {
    number: numeral(row['number']) ?? 0,
    note: text(row['note']),
    createdBy: text(row['createdBy']),
    createdAtMs: numeral(row['createdAtMs']) ?? 0,
    publishedAtMs: numeral(row['publishedAtMs']),
  }
}

function readDifference(value: unknown): Difference {
  const { path, before, after } = fields(value)
  return { path: text(path), before: shown(before), after: shown(after) }
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
