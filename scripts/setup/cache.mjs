/** What is slow to get and the same for every checkout lies outside the tree: Python environments, compiled programs. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** `TROUPE_CACHE_DIR`, or `troupe` in the user's cache folder. May be deleted at any time when nothing runs. */
export function cacheDir(env = process.env) {
  return path.resolve(
    env['TROUPE_CACHE_DIR'] ||
      path.join(env['XDG_CACHE_HOME'] || path.join(os.homedir(), '.cache'), 'troupe'),
  )
}

/**
 * Where an installation step writes what its tools say.
 *
 * @param {string} step
 */
export function installLog(step) {
  return path.join(cacheDir(), 'logs', `${step}.log`)
}

/**
 * The folder `name` of the cache. When it is not there, `make` fills a folder beside it that then takes the name, so a
 * folder with that name is always whole, also when two processes make it at once.
 *
 * @param {string} name Carries everything that the content depends on.
 * @param {(dir: string) => Promise<void>} make
 * @param {{ isUsable?: (dir: string) => boolean }} [options] `isUsable` may reject what is there; it is then made again.
 */
export function cached(name, make, { isUsable = () => true } = {}) {
  const dir = path.join(cacheDir(), name)
  const already = making.get(dir)
  if (already !== undefined) return already
  const result = findOrMake(dir, make, isUsable).finally(() => making.delete(dir))
  making.set(dir, result)
  return result
}

/** What this process is making right now, so that two steps that need the same thing wait for one. @type {Map<string, Promise<string>>} */
const making = new Map()

/**
 * @param {string} dir
 * @param {(dir: string) => Promise<void>} make
 * @param {(dir: string) => boolean} isUsable
 */
async function findOrMake(dir, make, isUsable) {
  if (existsSync(dir)) {
    if (isUsable(dir)) return dir
    rmSync(dir, { recursive: true, force: true })
  }
  removeAbandoned(path.basename(dir))
  const partial = `${dir}.${process.pid}.partial`
  mkdirSync(partial, { recursive: true })
  try {
    await make(partial)
    moveInto(dir, partial)
  } finally {
    rmSync(partial, { recursive: true, force: true })
  }
  return dir
}

/**
 * A short name for content.
 *
 * @param {...(string | Buffer)} parts
 */
export function fingerprint(...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part).update('\0')
  return hash.digest('hex').slice(0, 16)
}

/**
 * The same for the content of files, and of all files in folders; what is not there counts as empty.
 *
 * @param {readonly string[]} places
 */
export function fingerprintOfFiles(places) {
  const files = places.flatMap((place) => filesUnder(place)).sort()
  return fingerprint(...files.flatMap((file) => [path.relative(ROOT, file), readFileSync(file)]))
}

/** @param {string} place A file or a folder. */
function filesUnder(place) {
  if (!existsSync(place)) return []
  if (statSync(place).isFile()) return [place]
  return readdirSync(place, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !path.relative(place, entry.parentPath).includes('node_modules'))
    .map((entry) => path.join(entry.parentPath, entry.name))
}

/**
 * @param {string} dir
 * @param {string} partial
 */
function moveInto(dir, partial) {
  try {
    renameSync(partial, dir)
  } catch (cause) {
    // Another process was faster; its folder is as good as ours.
    if (!existsSync(dir)) throw cause
  }
}

/**
 * Folders of processes that were killed while they made `name`.
 *
 * @param {string} name
 */
function removeAbandoned(name) {
  if (!existsSync(cacheDir())) return
  for (const entry of readdirSync(cacheDir())) {
    const pid = entry.startsWith(`${name}.`) ? /\.(\d+)\.partial$/.exec(entry)?.[1] : undefined
    if (pid === undefined || isAlive(Number(pid))) continue
    rmSync(path.join(cacheDir(), entry), { recursive: true, force: true })
  }
}

/** @param {number} pid */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM'
  }
}
