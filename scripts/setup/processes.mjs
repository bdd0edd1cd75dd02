/** Child processes: servers that run until they are stopped, and commands that run to their end. None outlives us. */
import { spawn } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { SetupError } from './failure.mjs'

/** A server that does not end within this time after SIGTERM is killed. The sidecar drains for 5 s. */
const GRACE_MS = 12_000
const POLL_MS = 100
/** One answer to a question like "are you up?" may take this long. */
const ANSWER_MS = 5_000
const TAIL_LINES = 12

/**
 * Each child leads its own process group and holds one end of a pipe (descriptor 3) of ours. When we are gone, however that
 * happened, the pipe ends and the watcher beside the child ends the group. `exec` keeps the pid that spawn reported.
 */
const UNDER_WATCH = '{ read -r _ <&3; kill -TERM 0; } & exec "$@" 3<&-'

/** All that run now. @type {Set<Started>} */
const running = new Set()

/**
 * @typedef {object} Started
 * @property {string} name What people call it, e.g. "Open WebUI".
 * @property {string} url Where it answers, without a slash at the end.
 * @property {number} pid
 * @property {string} logFile
 * @property {Promise<string>} ended How it ended, in words ("exit code 1"); never rejects.
 * @property {() => boolean} isRunning
 * @property {(graceMs?: number) => Promise<void>} stop SIGTERM, then SIGKILL; resolves when it is gone. May be called twice.
 */

/**
 * @typedef {object} Command
 * @property {string} name
 * @property {string} command
 * @property {readonly string[]} [args]
 * @property {NodeJS.ProcessEnv} [env] The whole environment, not an addition; ours by default.
 * @property {string} [cwd]
 * @property {string} logFile Takes stdout and stderr. The one of the run before is kept beside it as `….1`.
 */

/**
 * Starts a server. It may not answer yet: see `waitUntilUp`.
 *
 * @param {Command & { url: string }} what
 * @returns {Started}
 */
export function startProcess({ name, url, command, args = [], env = process.env, cwd, logFile }) {
  const log = openLog(logFile)
  const child = spawn('/bin/sh', ['-c', UNDER_WATCH, 'sh', command, ...args], {
    cwd,
    env,
    detached: true,
    stdio: ['ignore', log, log, 'pipe'],
  })
  closeSync(log)
  /** @type {Promise<string>} */
  const ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => {
      child.stdio[3]?.destroy()
      running.delete(started)
      resolve(code === null ? `signal ${signal ?? 'unknown'}` : `exit code ${code}`)
    })
  })
  const { pid } = child
  if (pid === undefined)
    throw new SetupError(`${name} could not be started in ${cwd ?? 'this folder'}`, { logFile })
  const isRunning = () => child.exitCode === null && child.signalCode === null
  /** @type {Started} */
  const started = {
    name,
    url,
    pid,
    logFile,
    ended,
    isRunning,
    async stop(graceMs = GRACE_MS) {
      if (!isRunning()) return
      signalGroup(pid, 'SIGTERM')
      await Promise.race([ended, sleep(graceMs, undefined, { ref: false })])
      signalGroup(pid, 'SIGKILL')
      await ended
    },
  }
  running.add(started)
  return started
}

/** The servers that run now. */
export function runningServers() {
  return [...running]
}

/**
 * Stops everything that was started here, commands of an unfinished installation included.
 *
 * @param {number} [graceMs]
 */
export async function stopAll(graceMs) {
  await Promise.all([...running].map((started) => started.stop(graceMs)))
}

/**
 * Runs a command to its end. Throws SetupError with the end of its output when it fails.
 *
 * @param {Command & { remedy?: string }} what
 */
export async function runCommand({ remedy, ...what }) {
  const end = await startProcess({ ...what, url: '' }).ended
  if (end === 'exit code 0') return
  throw new SetupError(`${what.name} failed (${end}):\n${tail(what.logFile)}`, {
    ...(remedy === undefined ? {} : { remedy }),
    logFile: what.logFile,
  })
}

/**
 * Waits until `path` of the server answers 200. Throws SetupError when it ends before, or takes longer; it is stopped then.
 *
 * @param {Started} server
 * @param {{ path: string, timeoutMs: number }} options
 */
export async function waitUntilUp(server, { path: probe, timeoutMs }) {
  const deadlineMs = Date.now() + timeoutMs
  while (!(await answers(`${server.url}${probe}`))) {
    if (!server.isRunning()) {
      throw new SetupError(
        `${server.name} ended while starting (${await server.ended}):\n${tail(server.logFile)}`,
        { logFile: server.logFile },
      )
    }
    if (Date.now() > deadlineMs) {
      await server.stop()
      throw new SetupError(`${server.name} did not answer within ${timeoutMs / 1_000} s`, {
        remedy: 'look at the last lines of its log; if the machine is only slow, start again',
        logFile: server.logFile,
      })
    }
    await sleep(POLL_MS)
  }
}

/**
 * True when the address answers 200.
 *
 * @param {string} url
 */
async function answers(url) {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS) })
    await response.body?.cancel()
    return response.status === 200
  } catch {
    // Refused, reset or too slow: not up yet, which is the answer.
    return false
  }
}

/**
 * The last lines of a log, indented.
 *
 * @param {string} logFile
 */
function tail(logFile) {
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES)
  return lines.map((line) => `  | ${line.slice(0, 300)}`).join('\n')
}

/** @param {string} logFile */
function openLog(logFile) {
  mkdirSync(path.dirname(logFile), { recursive: true })
  if (existsSync(logFile)) renameSync(logFile, `${logFile}.1`)
  return openSync(logFile, 'a', 0o600)
}

/**
 * @param {number} pid
 * @param {NodeJS.Signals} signal
 */
function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal)
  } catch {
    // The whole group is gone, which is what was wanted.
  }
}
