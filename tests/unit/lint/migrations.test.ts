/** A change to the tables without its migration would only be noticed by the first person who updates. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

import { postgresKit } from '#store/kit.postgres.ts'
import { sqliteKit } from '#store/kit.sqlite.ts'
import * as postgres from '#store/tables.postgres.ts'
import * as sqlite from '#store/tables.sqlite.ts'
import { defineTables } from '#store/tables.ts'

const ROOT = path.join(import.meta.dirname, '../../..')
const run = promisify(execFile)

test.each([
  ['sqlite', 'sqlite'],
  ['postgres', 'postgresql'],
])('the migrations for %s are those of the tables', { timeout: 30_000 }, async (name, dialect) => {
  const committed = path.join(ROOT, 'sidecar/src/store/migrations', name)
  const out = await mkdtemp(path.join(tmpdir(), 'troupe-migrations-'))
  try {
    await cp(committed, out, { recursive: true })
    const schema = `sidecar/src/store/tables.${name}.ts`
    // drizzle-kit joins `out` to the working folder, whatever it looks like.
    const options = ['--dialect', dialect, '--schema', schema, '--out', path.relative(ROOT, out)]
    await run(process.execPath, ['node_modules/drizzle-kit/bin.cjs', 'generate', ...options], { cwd: ROOT })
    expect((await readdir(out)).sort(), 'run `npm run db:generate` and commit what it writes').toEqual(
      (await readdir(committed)).sort(),
    )
  } finally {
    await rm(out, { recursive: true, force: true })
  }
})

test.each([
  ['sqlite', sqlite, sqliteKit],
  ['postgres', postgres, postgresKit],
])('every table is one that the migrations for %s see', (_name, seen, kit) => {
  expect(Object.keys(seen).sort()).toEqual(Object.keys(defineTables(kit)).sort())
})
