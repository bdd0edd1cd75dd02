/** The same words in PostgreSQL. */
import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from 'drizzle-orm/pg-core'

import type { Kit } from './kit.sqlite.ts'

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })

const kit: Record<keyof Kit, unknown> = {
  table: pgTable,
  index,
  uniqueIndex,
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- only one of its two forms is, and tables use the other
  primaryKey,
  text: (name: string) => text(name),
  int: (name: string) => integer(name),
  serial: (name: string) => integer(name).primaryKey().generatedByDefaultAsIdentity(),
  float: (name: string) => doublePrecision(name),
  bool: (name: string) => boolean(name),
  bytes: (name: string) => bytea(name),
  epochMs: (name: string) => bigint(name, { mode: 'number' }),
  json: (name: string) => jsonb(name),
}

/** drizzle's builders of both dialects give the same row values; `tests/contract/store.ts` holds that. */
export const postgresKit = kit as unknown as Kit
