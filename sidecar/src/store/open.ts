/** Opens a store by its URL; the engine is loaded when it is needed. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { AppError } from '#base/errors.ts'

import type { Store, StoreOptions } from './store.ts'

/** Beside this file when the source runs, beside the bundle's chunks when that runs. */
function migrationsDir(dialect: 'sqlite' | 'postgres'): string {
  const dir = fileURLToPath(new URL(`./migrations/${dialect}`, import.meta.url))
  if (existsSync(dir)) return dir
  throw new AppError('internal', `The migrations are missing at ${dir}; run "npm run build" again`)
}

/**
 * `file:<path>` (or `file::memory:`) opens SQLite, `postgres://…` PostgreSQL. Brings the tables up to date. The caller closes it.
 * Throws AppError `unavailable` when the database cannot be reached, `invalid` for another kind of URL.
 */
export async function openStore(url: string, options: StoreOptions = {}): Promise<Store> {
  if (url.startsWith('file:')) {
    const { openSqlite } = await import('./open.sqlite.ts')
    return openSqlite(url.slice('file:'.length), migrationsDir('sqlite'), options)
  }
  if (/^postgres(ql)?:\/\//.test(url)) {
    const { openPostgres } = await import('./open.postgres.ts')
    return openPostgres(url, migrationsDir('postgres'), options)
  }
  throw new AppError('invalid', 'A database URL begins with file: or postgres://')
}
