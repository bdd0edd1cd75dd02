/** The benchmark's own processes: built once, pinned where that is possible, gone when the runner is gone. */
import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

import { build } from 'tsup'

import { ROOT } from '../../../scripts/setup/cache.mjs'
import { allowedCores } from './machine.ts'

const BUILT = path.join(ROOT, 'dist', 'bench')

/** Which core the gateways get and which mock server and load client share; nothing where processes cannot be pinned. */
export interface Cores {
  gateway: number | undefined
  load: number | undefined
  /** Why not, for the reader of the figures. */
  note: string | undefined
}

export function chooseCores(): Cores {
  const [gateway, load] = allowedCores()
  const unpinned = { gateway: undefined, load: undefined }
  if (!hasTaskset()) return { ...unpinned, note: 'taskset is missing: processes share all cores' }
  if (gateway === undefined || load === undefined)
    return { ...unpinned, note: 'there is one core only: mock server and load client take from the gateways' }
  return { gateway, load, note: undefined }
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    // Not installed, or not this kind of system.
    return false
  }
}

/** The command line that runs `command` on one core. */
export const onCore = (core: number | undefined, command: readonly string[]): [string, ...string[]] => {
  const pinned = core === undefined ? command : ['taskset', '-c', String(core), ...command]
  const [program = '', ...args] = pinned
  return [program, ...args]
}

/** Plain JavaScript: what compiles TypeScript while it runs would be measured as well. */
export async function buildParts(): Promise<void> {
  const files = ['mock-server', 'load-client', 'control']
  const entry = files.map((name) => path.join(import.meta.dirname, `${name}.ts`))
  await build({ entry, outDir: BUILT, format: 'esm', target: 'node20', config: false, silent: true })
}

export interface Part {
  pid: number
  child: ChildProcess
  /** The first thing that it said. */
  greeting: unknown
}

export async function startPart(
  name: 'mock-server' | 'load-client' | 'control',
  core: number | undefined,
  args: readonly string[] = [],
  inspectPort = 0,
): Promise<Part> {
  const [execPath, ...execArgv] = onCore(core, [
    process.execPath,
    `--inspect-port=${inspectPort}`,
    '--inspect-publish-uid=http',
  ])
  const child = fork(path.join(BUILT, `${name}.js`), args, { execPath, execArgv })
  const [greeting] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => Promise.reject(new Error(`${name} ended while starting`))),
  ])) as [unknown]
  if (child.pid === undefined) throw new Error(`${name} could not be started`)
  return { pid: child.pid, child, greeting }
}
