/** Starts the targets, asks each the same, by turns, and writes down what happened beside what the machine did meanwhile. */
import { appendFileSync } from 'node:fs'
import { once } from 'node:events'

import { z } from 'zod'

import type { Load, LoadResult, Order } from './load.ts'
import { cpuMsOf, machineTimesMs, memoryBytesOf } from './machine.ts'
import type { Cores, Part } from './parts.ts'
import type { Plan, Slot, SlotName } from './plan.ts'
import { isOurs, type Target } from './targets.ts'

/** Above this share of its core, mock server and load client are what is measured. */
const MOST_OWN_SHARE = 0.85
/** Above this share of one core, others were in the way. */
const MOST_FOREIGN_SHARE = 0.6
const MEMORY_EVERY_MS = 250
const WATCHED: ReadonlySet<SlotName> = new Set<SlotName>(['ramp', 'soak'])

export interface SlotRecord {
  round: number
  slot: SlotName
  target: string
  result: LoadResult
  wallMs: number
  gatewayCpuMs: number
  memoryPeakBytes: number
  /** Shares of one core. */
  mockShare: number
  loadShare: number
  foreignShare: number
  stealShare: number
  /** The mock server or the load client was the limit; the figures say nothing about the target. */
  isRefused: boolean
  /** Others used the machine. */
  isDisturbed: boolean
}

export interface Bench {
  mock: Part
  load: Part
  cores: Cores
  targets: readonly Target[]
  plan: Plan
  /** Takes one JSON line for each slot. */
  file: string
  say: (line: string) => void
}

const LoadReply = z.custom<LoadResult>((value) => typeof value === 'object' && value !== null)

export async function carryOut(load: Part, { url, headers, body }: Target, what: Load): Promise<LoadResult> {
  const order: Order = { ...what, url, headers, body }
  load.child.send(order)
  const [reply] = (await once(load.child, 'message')) as [unknown]
  return LoadReply.parse(reply)
}

/** Why a target cannot take part; undefined when it answered. */
export async function probe(load: Part, target: Target): Promise<string | undefined> {
  const behaviour = { delayMs: 0, chunks: 3, intervalMs: 0, firstMs: 0, fillerBytes: 0 }
  for (const isStream of [false, true]) {
    const pattern = { mode: 'closed', connections: 1, requests: 1 } as const
    const { finished, errors } = await carryOut(load, target, { pattern, isStream, behaviour })
    if (finished === 1) continue
    return Object.keys(errors)[0] === 'status 404'
      ? 'not offered yet'
      : `fails: ${Object.keys(errors).join(', ')}`
  }
  return undefined
}

/** What failed meanwhile; a target that refuses would be measured as if it worked. */
async function warm(load: Part, target: Target, what: Load): Promise<Record<string, number>> {
  const { errors } = await carryOut(load, target, what)
  if (Object.keys(errors).length > 0 && isOurs(target.name))
    throw new Error(`${target.name} failed while it was warming up: ${JSON.stringify(errors)}`)
  return errors
}

export async function measureAll(bench: Bench): Promise<SlotRecord[]> {
  const { targets, plan, load, say } = bench
  for (const target of targets) {
    const failed = []
    for (const warmUp of plan.warmUps) failed.push(...Object.entries(await warm(load, target, warmUp)))
    const remark = failed.map(([what, count]) => `${count} ${what}`).join(', ')
    say(`${target.name} is warm${remark === '' ? '' : ` (${remark})`}`)
  }
  const records: SlotRecord[] = []
  for (let round = 1; round <= plan.rounds; round += 1) {
    const order = round % 2 === 1 ? targets : targets.toReversed()
    for (const slot of plan.slots) {
      if (slot.name === 'ramp' && round > plan.rampRounds) continue
      for (const target of order) {
        // The last answer is awaited as long as patience lasts; once is enough.
        if (isTooSlow(records, slot.name, target)) continue
        records.push(await measureSlot(bench, { round, slot, target }))
      }
    }
    say(`round ${round} of ${plan.rounds} is done`)
  }
  return records
}

const UNFINISHED = 'not finished in time'

const isTooSlow = (records: readonly SlotRecord[], slot: SlotName, { name }: Target): boolean =>
  records.some(
    (before) => before.slot === slot && before.target === name && UNFINISHED in before.result.errors,
  )

interface Turn {
  round: number
  slot: Slot
  target: Target
}

async function measureSlot(bench: Bench, { round, slot, target }: Turn): Promise<SlotRecord> {
  const { mock, load, file } = bench
  const read = () => ({
    atMs: performance.now(),
    gateway: target.pid === undefined ? 0 : cpuMsOf(target.pid),
    mock: cpuMsOf(mock.pid),
    load: cpuMsOf(load.pid),
    own: process.cpuUsage(),
    machine: machineTimesMs(),
  })
  const memory = watchMemory(WATCHED.has(slot.name) ? target.pid : undefined)
  const before = read()
  const result = await carryOut(load, target, slot)
  const after = read()
  const memoryPeakBytes = memory.stop()

  const wallMs = after.atMs - before.atMs
  const gatewayCpuMs = after.gateway - before.gateway
  const mockCpuMs = after.mock - before.mock
  const loadCpuMs = after.load - before.load
  const ownCpuMs = (after.own.user + after.own.system - before.own.user - before.own.system) / 1_000
  const busyMs = after.machine.busyMs - before.machine.busyMs
  const foreignMs = Math.max(0, busyMs - gatewayCpuMs - mockCpuMs - loadCpuMs - ownCpuMs)
  const [mockShare, loadShare, foreignShare] = [mockCpuMs / wallMs, loadCpuMs / wallMs, foreignMs / wallMs]
  const share = bench.cores.load === undefined ? Math.max(mockShare, loadShare) : mockShare + loadShare
  const record: SlotRecord = {
    round,
    slot: slot.name,
    target: target.name,
    result,
    wallMs,
    gatewayCpuMs,
    memoryPeakBytes,
    mockShare,
    loadShare,
    foreignShare,
    stealShare: (after.machine.stealMs - before.machine.stealMs) / wallMs,
    isRefused: share > MOST_OWN_SHARE,
    isDisturbed: foreignShare > MOST_FOREIGN_SHARE,
  }
  appendFileSync(file, `${JSON.stringify(record)}\n`)
  return record
}

/** The most that a process tree held while it was watched. */
function watchMemory(pid: number | undefined): { stop: () => number } {
  if (pid === undefined) return { stop: () => 0 }
  let peakBytes = memoryBytesOf(pid)
  const timer = setInterval(() => (peakBytes = Math.max(peakBytes, memoryBytesOf(pid))), MEMORY_EVERY_MS)
  return {
    stop() {
      clearInterval(timer)
      return peakBytes
    },
  }
}
