/** The store: one interface, two engines. `contract/store` holds both to it. */
import type { BaseSQLiteDatabase, SQLiteTable } from 'drizzle-orm/sqlite-core'

import type { Tables } from './tables.ts'

/** drizzle's query builders; always awaited, so that the same text runs on the synchronous SQLite driver. */
export type Db = Pick<BaseSQLiteDatabase<'async', unknown>, 'select' | 'insert' | 'update' | 'delete'>

/** A statement that was built and not yet run. */
export type Write = PromiseLike<unknown>

/** Rows for one table. */
export interface Rows {
  readonly table: SQLiteTable
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

export type Change = Write | Rows

export const isRows = (change: Change): change is Rows => 'rows' in change

/** Holds the rows to the columns of their table. */
export const rowsOf = <T extends SQLiteTable>(table: T, rows: readonly T['$inferInsert'][]): Rows => ({
  table,
  rows,
})

export interface StoreOptions {
  /** The most that are opened to a PostgreSQL. */
  connections?: number
  /** A read replica has no tables of its own to bring up to date. */
  isReplica?: boolean
  /**
   * A PostgreSQL that cannot be reached is no reason to reject: until it can, and its tables are up to date, all that is asked of
   * the store fails with `unavailable`. One that is there and refuses us still is.
   */
  mayBeAway?: boolean
  /** The variable that holds the URL, for whoever has to change it. */
  setting?: string
  /** The clock of this process. */
  now?: () => number
}

export interface Store {
  readonly engine: 'sqlite' | 'postgres'
  readonly db: Db
  readonly t: Tables
  /**
   * Runs all changes in their order in one transaction, or none. Read before it; put conditions into the statements. Many rows
   * are added best as `Rows`: without a statement of their own, and left out where their key is taken.
   */
  atomically(changes: (db: Db) => Change[]): Promise<void>
  /**
   * Adds rows in one commit and resolves once they are durable; a row whose key is taken is left out. Does not hold up the
   * event loop on any engine. Rejects with AppError `unavailable` when the database does not take them, on PostgreSQL also
   * after `withinMs` (they may be there then, or come to be), and with `invalid` when it never will.
   */
  append(batch: readonly Rows[], withinMs?: number): Promise<void>
  /** True when an error says that a unique key is taken. */
  isDuplicate(error: unknown): boolean
  /** The moment by a clock that all processes of this database share: that of PostgreSQL, or that of the one process of SQLite. */
  nowMs(): number
  /** Throws AppError `unavailable` when the database does not answer within a second. */
  ping(): Promise<void>
  /** How far its changes have come, for `lagMs` of a read replica. */
  position(): Promise<string>
  /**
   * How far a read replica is behind that position of its primary, in milliseconds; 0 once it shows everything up to there, and
   * null when it cannot tell. Without a position: the age of the last change that it shows.
   */
  lagMs(position?: string): Promise<number | null>
  close(): Promise<void>
}
