/** Python environments from lock files with hashes, each made once in the cache. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'

import { cached, cacheDir, fingerprintOfFiles, installLog, ROOT } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { runCommand } from './processes.mjs'

const execute = promisify(execFile)

/** What Open WebUI 0.12 runs on. */
const PYTHON_VERSIONS = ['3.11', '3.12']
const PYTHON_NAMES = ['python3.12', 'python3.11', 'python3', 'python']
/** `uv pip sync --require-hashes` and `uv venv --relocatable` are there since then. */
const OLDEST_UV = [0, 5]
const PROBE_MS = 10_000

const LOCKS = path.join(ROOT, 'scripts', 'python')

/**
 * The environment with exactly the packages of `scripts/python/<name>.lock`; its programs lie in `bin/`.
 *
 * @param {string} name
 * @param {{ remedy?: string }} [options] What to do when it cannot be installed.
 */
export function installPythonEnvironment(
  name,
  { remedy = 'check the connection to PyPI and start again' } = {},
) {
  const lock = path.join(LOCKS, `${name}.lock`)
  const logFile = installLog(`python-${name}`)
  return cached(
    `${name}-${process.platform}-${process.arch}-${fingerprintOfFiles([lock])}`,
    async (dir) => {
      const python = await findPython()
      const uv = await findUv(python)
      // Relocatable, because the cache moves the folder to its final name when it is whole.
      const create = [
        'venv',
        '--quiet',
        '--relocatable',
        '--allow-existing',
        '--python',
        python ?? '3.12',
        dir,
      ]
      const env = pythonEnv({ UV_CACHE_DIR: process.env['UV_CACHE_DIR'] || path.join(cacheDir(), 'uv') })
      await runCommand({
        name: `Creating the Python environment of ${name}`,
        command: uv,
        args: create,
        env,
        logFile,
        remedy,
      })
      const install = ['pip', 'sync', '--python', path.join(dir, 'bin', 'python'), '--require-hashes', lock]
      await runCommand({ name: `Installing ${name}`, command: uv, args: install, env, logFile, remedy })
    },
    // The Python that it was made with may have been removed since: then the link leads nowhere.
    { isUsable: (dir) => existsSync(path.join(dir, 'bin', 'python')) },
  )
}

/**
 * The environment for a Python program of ours: without what would lead it to other packages, its output in the log at
 * once, and its compiled files kept, which halves the time that Open WebUI needs to start.
 *
 * @param {NodeJS.ProcessEnv} [more]
 * @param {NodeJS.ProcessEnv} [base]
 * @returns {NodeJS.ProcessEnv}
 */
export function pythonEnv(more = {}, base = process.env) {
  const {
    PYTHONPATH: _path,
    PYTHONHOME: _home,
    PYTHONDONTWRITEBYTECODE: _noFiles,
    VIRTUAL_ENV: _venv,
    ...rest
  } = base
  return { ...rest, PYTHONUNBUFFERED: '1', ...more }
}

/**
 * uv from the PATH, or our own from its lock file.
 *
 * @param {string | undefined} python
 */
export async function findUv(python) {
  for (const candidate of onPath(['uv'])) {
    const version = /^uv (\d+)\.(\d+)/.exec(await outputOf(candidate, ['--version']))
    if (version !== null && isAtLeast([Number(version[1]), Number(version[2])], OLDEST_UV)) return candidate
  }
  if (python === undefined) {
    throw new SetupError('Neither Python 3.11 or 3.12 nor uv was found', {
      remedy:
        'install one of them, e.g. apt-get install python3 python3-venv, or see https://docs.astral.sh/uv/',
    })
  }
  return path.join(await installUv(python), 'bin', 'uv')
}

/** @param {string} python */
function installUv(python) {
  const lock = path.join(LOCKS, 'uv.lock')
  return cached(
    `uv-${process.platform}-${process.arch}-${fingerprintOfFiles([lock])}`,
    async (dir) => {
      await installVenv(python)
      const what = { name: 'Installing uv', env: pythonEnv(), logFile: installLog('uv') }
      await runCommand({ ...what, command: python, args: ['-m', 'venv', dir] })
      const options = ['--disable-pip-version-check', '--require-hashes', '--only-binary', ':all:']
      await runCommand({
        ...what,
        command: path.join(dir, 'bin', 'python'),
        args: ['-m', 'pip', 'install', ...options, '-r', lock],
        remedy: 'check the connection to PyPI, or install uv (https://docs.astral.sh/uv/), and start again',
      })
    },
    { isUsable: (dir) => existsSync(path.join(dir, 'bin', 'uv')) },
  )
}

/**
 * Debian's Python comes without what makes environments; it is a package of its own.
 *
 * @param {string} python
 */
async function installVenv(python) {
  if ((await outputOf(python, ['-c', 'import ensurepip, venv; print("there")'])) === 'there') return
  const remedy =
    'install venv for it (apt-get install python3-venv) or uv (https://docs.astral.sh/uv/) and start again'
  const isRootOfDebian = process.getuid?.() === 0 && existsSync('/etc/debian_version')
  if (!isRootOfDebian) throw new SetupError(`${python} cannot make environments`, { remedy })
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const what = { name: 'Installing the Debian package python3-venv', command: 'apt-get', env, remedy }
  await runCommand({ ...what, args: ['-q', 'update'], logFile: installLog('apt') })
  const install = ['-q', 'install', '--yes', '--no-install-recommends', 'python3-venv']
  await runCommand({ ...what, args: install, logFile: installLog('apt') })
}

/** The real path of a Python that Open WebUI runs on. A name on the PATH proves nothing: version managers put shims there. */
export async function findPython() {
  for (const candidate of onPath(PYTHON_NAMES)) {
    const [version = '', executable = ''] = (
      await outputOf(candidate, [
        '-c',
        'import sys; print("%d.%d" % sys.version_info[:2], sys.executable, sep="\\n")',
      ])
    ).split('\n')
    if (PYTHON_VERSIONS.includes(version) && executable !== '') return executable
  }
  return undefined
}

/**
 * @param {readonly string[]} names
 * @returns {string[]}
 */
function onPath(names) {
  const dirs = (process.env['PATH'] ?? '').split(path.delimiter).filter((dir) => dir !== '')
  return names.flatMap((name) => dirs.map((dir) => path.join(dir, name))).filter((file) => existsSync(file))
}

/**
 * What a program prints, or nothing when it cannot be run.
 *
 * @param {string} program
 * @param {readonly string[]} args
 */
async function outputOf(program, args) {
  try {
    return (await execute(program, args, { timeout: PROBE_MS, env: pythonEnv() })).stdout.trim()
  } catch {
    // A broken candidate is one that we do not take.
    return ''
  }
}

/**
 * @param {readonly number[]} version
 * @param {readonly number[]} oldest
 */
function isAtLeast(version, oldest) {
  const different = version.findIndex((part, index) => part !== oldest[index])
  return different === -1 || (version[different] ?? 0) > (oldest[different] ?? 0)
}
