/**
 * Whose code a gateway runs while it is full, by V8's own profiler, which is asked over the inspector. What the profiler itself
 * costs is in every target alike: the figures compare parts and targets of one run, and nothing else.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import { WebSocket } from 'undici'
import { z } from 'zod'

import { cpuMsOf, mainThreadMsOf } from './machine.ts'
import type { Part } from './parts.ts'
import { FULL } from './plan.ts'
import { carryOut } from './runner.ts'
import type { Target } from './targets.ts'

const INTERVAL_US = 200
const OPENS_WITHIN_MS = 5_000
const POLL_MS = 50
const IDLE = '(idle)'

/** By the name of the function and its file: the first that matches, in the order of the table. */
const OWNERS = [
  { owner: 'collector', of: /^\(garbage collector\)/ },
  { owner: 'undici', of: /\/node_modules\/undici\/|^wasm/ },
  { owner: 'other packages', of: /\/node_modules\// },
  { owner: 'Node', of: /^\S* (node:|$)|^\(/ },
  { owner: 'own code', of: /./ },
] as const

type Owner = (typeof OWNERS)[number]['owner']

const COLUMNS = [...OWNERS.map(({ owner }) => owner), 'other threads', 'all']
const WIDTH = 20
const ASKED = FULL.slots.find(({ name }) => name === 'saturation')

/** A table: microseconds of the processor for each request, by owner on the main thread, then of all other threads. */
export async function profileAll(load: Part, targets: readonly Target[]): Promise<string[]> {
  const lines = [`  ${'CPU µs/request'.padEnd(WIDTH)}  ${COLUMNS.join('  ')}`]
  for (const target of targets) {
    const { name, pid, inspectPort } = target
    if (pid === undefined || inspectPort === undefined || ASKED === undefined) continue
    const done = { finished: 0, mainMs: 0, allMs: 0 }
    const shares = await profile({ pid, inspectPort }, async () => {
      const [mainMs, allMs] = [mainThreadMsOf(pid), cpuMsOf(pid)]
      const { finished } = await carryOut(load, target, ASKED)
      Object.assign(done, { finished, mainMs: mainThreadMsOf(pid) - mainMs, allMs: cpuMsOf(pid) - allMs })
    })
    const { finished, mainMs, allMs } = done
    const ms = [...OWNERS.map(({ owner }) => (shares.get(owner) ?? 0) * mainMs), allMs - mainMs, allMs]
    const cells = ms.map((each, place) =>
      ((each * 1_000) / finished).toFixed(0).padStart(COLUMNS[place]?.length ?? 0),
    )
    lines.push(`  ${name.padEnd(WIDTH)}  ${cells.join('  ')}`)
  }
  return lines
}

const Profile = z.object({
  nodes: z.array(
    z.object({ id: z.number(), callFrame: z.object({ functionName: z.string(), url: z.string() }) }),
  ),
  samples: z.array(z.number()),
  timeDeltas: z.array(z.number()),
})

const Reply = z.object({ id: z.number(), result: z.unknown() })

/**
 * What share each owner had of the time at work while `work` ran. Shares, since a thread that waits for its core is seen at work;
 * how long it really worked the kernel knows. The process has to have been started with `--inspect-port`.
 */
async function profile(
  { pid, inspectPort }: { pid: number; inspectPort: number },
  work: () => Promise<unknown>,
): Promise<Map<Owner, number>> {
  process.kill(pid, 'SIGUSR1')
  const socket = new WebSocket(await addressOf(inspectPort))
  await once(socket, 'open')
  let lastId = 0
  async function ask(method: string, params: object = {}): Promise<unknown> {
    lastId += 1
    socket.send(JSON.stringify({ id: lastId, method, params }))
    for (;;) {
      const [{ data }] = (await once(socket, 'message')) as [{ data: string }]
      const reply = Reply.safeParse(JSON.parse(data))
      if (reply.data?.id === lastId) return reply.data.result
    }
  }
  await ask('Profiler.enable')
  await ask('Profiler.setSamplingInterval', { interval: INTERVAL_US })
  await ask('Profiler.start')
  await work()
  const { profile: seen } = z.object({ profile: Profile }).parse(await ask('Profiler.stop'))
  socket.close()
  return sharesOf(seen)
}

const Listed = z.array(z.object({ webSocketDebuggerUrl: z.string() })).min(1)

async function addressOf(inspectPort: number): Promise<string> {
  for (let waitedMs = 0; waitedMs < OPENS_WITHIN_MS; waitedMs += POLL_MS) {
    const answer = await fetch(`http://127.0.0.1:${inspectPort}/json/list`).catch(() => undefined)
    const [first] = answer === undefined ? [] : Listed.parse(await answer.json())
    if (first !== undefined) return first.webSocketDebuggerUrl
    await sleep(POLL_MS)
  }
  throw new Error(`No inspector opened on port ${inspectPort}`)
}

function sharesOf({ nodes, samples, timeDeltas }: z.infer<typeof Profile>): Map<Owner, number> {
  const ownerOf = new Map<number, Owner>()
  for (const { id, callFrame } of nodes) {
    const frame = `${callFrame.functionName} ${callFrame.url}`
    const owner = OWNERS.find(({ of }) => of.test(frame))?.owner
    if (callFrame.functionName !== IDLE && owner !== undefined) ownerOf.set(id, owner)
  }
  const timesUs = new Map<Owner, number>()
  let totalUs = 0
  for (const [index, id] of samples.entries()) {
    const owner = ownerOf.get(id)
    if (owner === undefined) continue
    const us = timeDeltas[index] ?? 0
    totalUs += us
    timesUs.set(owner, (timesUs.get(owner) ?? 0) + us)
  }
  return new Map([...timesUs].map(([owner, us]) => [owner, us / totalUs]))
}
