/** The built sidecar as a process of its own, so that a test can end it the hard way. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import path from 'node:path'

/** After a collection, in MB: what the process holds, and what the system gave it. */
export interface Memory {
  heldMb: number
  residentMb: number
}

export interface SidecarProcess {
  url: string
  child: ChildProcess
  /** All that it has written to stdout and stderr. */
  output(): string
  /** Milliseconds from spawn to the first `ready`. */
  startMs: number
  memory(): Promise<Memory>
  /** What it waits for, as `process.getActiveResourcesInfo` names it. */
  resources(): Promise<string[]>
  /** SIGKILL: what a power cut looks like to a process. */
  kill(): Promise<void>
  /** SIGTERM, and waits. */
  stop(): Promise<void>
}

const MB = 1_048_576

/** On a busy machine the first start of a process takes many times what it takes elsewhere. */
const LONGEST_START_MS = 60_000

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Starts `dist/main.js` and waits until it is ready. Throws with its output when it ends before that. */
export async function startSidecar(env: Record<string, string>): Promise<SidecarProcess> {
  const port = Number(env['TROUPE_PORT'] ?? (await freePort()))
  const startedAtMs = performance.now()
  const probe = ['--expose-gc', '--import', new URL('process-probe.mjs', import.meta.url).href]
  const child = spawn(process.execPath, [...probe, path.resolve('dist/main.js')], {
    env: {
      PATH: process.env['PATH'],
      TROUPE_PORT: String(port),
      // One person asks more in a test than anybody would.
      TROUPE_TURN_LIMIT: '100000/60',
      TROUPE_PARALLEL_TURNS: '1000',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const url = `http://127.0.0.1:${String(port)}`
  while (!(await isReady(url))) {
    if (child.exitCode !== null)
      throw new Error(`The sidecar ended with ${String(child.exitCode)}:\n${output}`)
    if (performance.now() - startedAtMs > LONGEST_START_MS) {
      child.kill('SIGKILL')
      throw new Error(`The sidecar did not get ready in ${String(LONGEST_START_MS / 1_000)} s:\n${output}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }
  return {
    url,
    child,
    output: () => output,
    startMs: performance.now() - startedAtMs,
    async memory() {
      child.send('memory')
      const [{ heapUsed, external, rss }] = (await once(child, 'message')) as [NodeJS.MemoryUsage]
      return { heldMb: (heapUsed + external) / MB, residentMb: rss / MB }
    },
    async resources() {
      child.send('resources')
      const [resources] = (await once(child, 'message')) as [string[]]
      return resources
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok
  } catch {
    // Not listening yet.
    return false
  }
}
