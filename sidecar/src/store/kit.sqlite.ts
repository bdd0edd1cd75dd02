/** The words that tables may use, in SQLite; these types are the canonical ones for both dialects. */
import {
  blob,
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core'

export const sqliteKit = {
  table: sqliteTable,
  index,
  uniqueIndex,
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- only one of its two forms is, and tables use the other
  primaryKey,
  text: (name: string) => text(name),
  int: (name: string) => integer(name),
  /** A primary key that the database counts up and never gives twice. */
  serial: (name: string) => integer(name).primaryKey({ autoIncrement: true }),
  float: (name: string) => real(name),
  bool: (name: string) => integer(name, { mode: 'boolean' }),
  epochMs: (name: string) => integer(name),
  bytes: (name: string) => blob(name, { mode: 'buffer' }),
  /** An opaque value: SQL never looks into it. */
  json: <T>(name: string) => text(name, { mode: 'json' }).$type<T>(),
}

export type Kit = typeof sqliteKit
