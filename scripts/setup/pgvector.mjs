/** A PostgreSQL 16 that has pgvector: Debian 12 has no package of it. */
import { readdirSync } from 'node:fs'
import path from 'node:path'

import { SetupError } from './failure.mjs'
import { installPythonEnvironment } from './python.mjs'

/** The folder of its programs (initdb, pg_ctl …). */
export async function installPgvector() {
  const venv = await installPythonEnvironment('pgvector')
  const files = readdirSync(path.join(venv, 'lib'), { recursive: true, encoding: 'utf8' })
  const file = files.find((name) => name.endsWith('pginstall/bin/pg_ctl'))
  if (file === undefined)
    throw new SetupError(`There is no PostgreSQL in ${venv}`, {
      remedy: 'delete that folder and start again',
    })
  return path.join(venv, 'lib', path.dirname(file))
}
