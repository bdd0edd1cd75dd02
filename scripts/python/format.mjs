/**
 * Black and isort over our Python files. `--check` only says what is wrong; files may be named, without any it is all of
 * them. The tools come from `dev-tools.lock`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'

import { ROOT } from '../setup/cache.mjs'
import { describeFailure } from '../setup/failure.mjs'
import { createProgress } from '../setup/progress.mjs'
import { installPythonEnvironment } from '../setup/python.mjs'

const FOLDERS = ['functions', 'pipelines', 'scripts', 'tests']

const args = process.argv.slice(2)
const named = args.filter((arg) => arg !== '--check')
const files = named.length > 0 ? named : FOLDERS.filter((folder) => existsSync(path.join(ROOT, folder)))
const check = args.includes('--check') ? ['--check', '--diff'] : []

try {
  const tools = await createProgress().step('Python tools', () => installPythonEnvironment('dev-tools'))
  const results = [
    ['isort', '--quiet'],
    ['black', '--quiet'],
  ].map(([tool = '', ...options]) =>
    spawnSync(path.join(tools, 'bin', tool), [...options, ...check, '--', ...files], {
      cwd: ROOT,
      stdio: 'inherit',
    }),
  )
  process.exitCode = results.every(({ status }) => status === 0) ? 0 : 1
} catch (error) {
  console.error(describeFailure(error))
  process.exitCode = 1
}
