/** Node packages, the one compiled addon among them, and the build of the sidecar: each only when something changed. */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'

import { cached, fingerprintOfFiles, installLog, ROOT } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { runCommand } from './processes.mjs'

const execute = promisify(execFile)

const ADDON = 'better_sqlite3.node'
const SQLITE = 'better-sqlite3'
const NODE_MODULES = path.join(ROOT, 'node_modules')
const BUILD_STAMP = path.join(ROOT, 'dist', '.inputs')
/** Everything that `npm run build` reads. */
const BUILD_INPUTS = ['sidecar', 'package.json', 'package-lock.json', 'tsconfig.json']

/**
 * Installs the packages of package-lock.json unless just these are installed. No package's own install script runs: the
 * addon is dealt with by `installSqliteAddon`, the others work without.
 */
export async function installNodePackages() {
  if (isInstalled()) return
  await npmCi(ROOT, 'npm-ci')
}

/**
 * Makes the compiled half of better-sqlite3 available in the cache, unless the one in node_modules will do. It takes about a
 * minute and needs nothing of node_modules, so it may run beside `installNodePackages`.
 */
export async function prepareSqliteAddon() {
  if (!isInstalled() || !(await addonLoads())) await cachedAddon()
}

/** Puts the compiled half of better-sqlite3 into node_modules. */
export async function installSqliteAddon() {
  if (await addonLoads()) return
  const release = path.join(NODE_MODULES, SQLITE, 'build', 'Release')
  mkdirSync(release, { recursive: true })
  copyFileSync(path.join(await cachedAddon(), ADDON), path.join(release, ADDON))
  if (await addonLoads()) return
  // Made on another system and brought along with the cache: compile for this one.
  await compileAddon(ROOT)
  if (await addonLoads()) return
  throw new SetupError(`${SQLITE} was compiled, but this Node (${process.version}) cannot load it`, {
    remedy:
      'the headers are probably those of another Node: look for nodedir in `npm config list`, or start with the Node that they belong to',
    logFile: installLog(SQLITE),
  })
}

/** Builds the sidecar and its pages into `dist/` unless their sources are those of the last build. */
export async function buildSidecar() {
  const inputs = fingerprintOfFiles(BUILD_INPUTS.map((input) => path.join(ROOT, input)))
  if (existsSync(BUILD_STAMP) && readFileSync(BUILD_STAMP, 'utf8') === inputs) return
  await runCommand({
    name: 'npm run build',
    command: npm(),
    args: ['run', 'build'],
    env: npmEnv(),
    cwd: ROOT,
    logFile: installLog('build'),
    remedy: 'mend what the build complains about and start again',
  })
  writeFileSync(BUILD_STAMP, inputs)
}

/**
 * npm writes down what it installed. Optional packages are left out of the comparison: which of them fit depends on the
 * system.
 */
function isInstalled() {
  const record = path.join(NODE_MODULES, '.package-lock.json')
  if (!existsSync(record)) return false
  const wanted = packagesOf(path.join(ROOT, 'package-lock.json'))
  const installed = packagesOf(record)
  /** @param {Record<string, Package>} packages */
  const needed = (packages) =>
    Object.entries(packages).filter(([place, { optional }]) => place !== '' && optional !== true)
  return (
    needed(wanted).length === needed(installed).length &&
    needed(wanted).every(([place, { version, integrity }]) => {
      const found = installed[place]
      return found?.version === version && found?.integrity === integrity
    })
  )
}

/** @typedef {{ version?: string, integrity?: string, optional?: boolean, dependencies?: Record<string, string> }} Package */

/**
 * @param {string} file
 * @returns {Record<string, Package>}
 */
function packagesOf(file) {
  return /** @type {Record<string, Package>} */ (readJson(file)['packages'] ?? {})
}

/** In a process of its own, because a module that once failed to load cannot be loaded again. */
async function addonLoads() {
  if (!existsSync(path.join(NODE_MODULES, SQLITE, 'build', 'Release', ADDON))) return false
  const script = "new (require('better-sqlite3'))(':memory:').close()"
  try {
    await execute(process.execPath, ['-e', script], { cwd: ROOT })
    return true
  } catch {
    // Built for another Node or another system, which is the answer.
    return false
  }
}

/** The folder of the cache with the addon for this version, Node and system. */
function cachedAddon() {
  const lock = readJson(path.join(ROOT, 'package-lock.json'))
  const packages = /** @type {Record<string, Package>} */ (lock['packages'] ?? {})
  const version = packages[`node_modules/${SQLITE}`]?.version ?? ''
  const name = `${SQLITE}-${version}-abi${process.versions.modules}-${process.platform}-${process.arch}`
  return cached(name, async (dir) => {
    const project = path.join(dir, 'project')
    mkdirSync(project)
    const own = { name: 'addon', version: '1.0.0', dependencies: { [SQLITE]: version } }
    const kept = { '': own, ...packagesNeededBy(`node_modules/${SQLITE}`, packages) }
    writeFileSync(path.join(project, 'package.json'), JSON.stringify(own))
    writeFileSync(
      path.join(project, 'package-lock.json'),
      JSON.stringify({ ...lock, ...own, packages: kept }),
    )
    await npmCi(project, 'npm-ci-addon')
    await compileAddon(project)
    copyFileSync(path.join(project, 'node_modules', SQLITE, 'build', 'Release', ADDON), path.join(dir, ADDON))
    rmSync(project, { recursive: true })
  })
}

/**
 * The part of a lock file that one package needs, itself included.
 *
 * @param {string} place Its key in the lock file.
 * @param {Record<string, Package>} packages
 */
function packagesNeededBy(place, packages) {
  /** @type {Record<string, Package>} */
  const kept = {}
  const open = [place]
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const found = packages[at]
    if (found === undefined || kept[at] !== undefined) continue
    kept[at] = found
    for (const name of Object.keys(found.dependencies ?? {})) open.push(nearest(at, name, packages))
  }
  return kept
}

/**
 * Where Node finds the package `name` from `place`: in the nearest node_modules upwards.
 *
 * @param {string} place
 * @param {string} name
 * @param {Record<string, Package>} packages
 */
function nearest(place, name, packages) {
  for (let at = place; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (packages[`${at}/node_modules/${name}`] !== undefined) return `${at}/node_modules/${name}`
  }
  return `node_modules/${name}`
}

/** @param {string} project */
function compileAddon(project) {
  return runCommand({
    name: `Compiling ${SQLITE}`,
    command: npm(),
    args: ['rebuild', SQLITE],
    env: { ...npmEnv(), JOBS: 'max' },
    cwd: project,
    logFile: installLog(SQLITE),
    remedy:
      'install a C++ compiler, make and Python (apt-get install build-essential python3) and start again',
  })
}

/**
 * @param {string} project
 * @param {string} log
 */
export function npmCi(project, log) {
  return runCommand({
    name: 'npm ci',
    command: npm(),
    args: ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'],
    env: npmEnv(),
    cwd: project,
    logFile: installLog(log),
    remedy: 'check the connection to the npm registry and start again',
  })
}

/** npm as it came with the Node that runs us, so that both agree on what to install. */
function npm() {
  const beside = path.join(path.dirname(process.execPath), 'npm')
  return existsSync(beside) ? beside : 'npm'
}

/** @returns {NodeJS.ProcessEnv} */
function npmEnv() {
  const bin = path.dirname(process.execPath)
  // node-gyp otherwise downloads the headers, although most installations of Node have them.
  const nodedir = path.dirname(bin)
  const hasHeaders = existsSync(path.join(nodedir, 'include', 'node', 'node.h'))
  return {
    ...process.env,
    PATH: `${bin}${path.delimiter}${process.env['PATH'] ?? ''}`,
    NO_COLOR: '1',
    ...(hasHeaders ? { npm_config_nodedir: nodedir } : {}),
  }
}

/**
 * @param {string} file
 * @returns {Record<string, unknown>}
 */
function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'))
}
