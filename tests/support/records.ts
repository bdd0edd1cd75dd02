/** The call records that a running sidecar has committed, read beside it. */
import path from 'node:path'

import Database from 'better-sqlite3'

export interface StoredRecord {
  id: string
  kind: string
  task: string | null
  status: string
  /** In milliseconds since 1970. */
  endedAtMs: number
  person: string | null
  /** JSON of a list of names. */
  groups: string | null
  upstream: string | null
  promptTokens: number | null
  cachedTokens: number | null
  cutTurns: number
}

/** Oldest first. */
export function readRecords(dataDir: string): Promise<StoredRecord[]> {
  const database = new Database(path.join(dataDir, 'analytics.sqlite'), { readonly: true })
  try {
    const sql = `select id, kind, task, status, person, groups, upstream, prompt_tokens as promptTokens, cached_tokens as cachedTokens,
      cut_turns as cutTurns, started_at_ms + total_ms as endedAtMs from call_records order by id`
    return Promise.resolve(database.prepare(sql).all() as StoredRecord[])
  } finally {
    database.close()
  }
}
