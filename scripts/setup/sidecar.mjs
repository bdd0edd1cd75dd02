/** The built sidecar: the process, and its command line. */
import path from 'node:path'

import { ROOT } from './cache.mjs'
import { runCommand, startProcess, waitUntilUp } from './processes.mjs'

const START_MS = 60_000

/**
 * Around its settings, where they do not say otherwise. glibc keeps a heap for each thread and gives hardly anything of it back;
 * Troupe has a dozen threads, of which one is busy (measured with 1,000 streams: docs/performance.md).
 */
export const SIDECAR_ENV = { MALLOC_ARENA_MAX: '1' }

/** What runs the sidecar in the foreground. */
export const SIDECAR_ARGS = ['--enable-source-maps', path.join(ROOT, 'dist', 'main.js')]

/**
 * Starts the sidecar and waits until it is ready. The caller stops it.
 *
 * @param {{ url: string, env: NodeJS.ProcessEnv, logFile: string }} options `env` is the rest of its environment and agrees with `url`.
 */
export async function startSidecar({ url, env, logFile }) {
  const server = startProcess({
    name: 'the sidecar',
    url,
    command: process.execPath,
    args: SIDECAR_ARGS,
    env: { ...SIDECAR_ENV, ...env },
    cwd: ROOT,
    logFile,
  })
  await waitUntilUp(server, { path: '/readyz', timeoutMs: START_MS })
  return server
}

/**
 * Runs a command of `npm run troupe` against a running sidecar.
 *
 * @param {readonly string[]} args
 * @param {{ url: string, adminKey: string, logFile: string }} on
 */
export function runTroupe(args, { url, adminKey, logFile }) {
  return runCommand({
    name: `npm run troupe -- ${args.slice(0, 2).join(' ')}`,
    command: process.execPath,
    args: [path.join(ROOT, 'dist', 'cli.js'), ...args],
    env: { ...process.env, TROUPE_URL: url, TROUPE_ADMIN_KEY: adminKey },
    cwd: ROOT,
    logFile,
    remedy: 'mend what it names; the log of the sidecar, beside this one, may say more',
  })
}
