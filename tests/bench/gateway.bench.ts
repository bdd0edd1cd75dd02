/**
 * What Troupe costs between a client and a model server, beside the least that a gateway on Node can cost: about two
 * minutes, or half an hour with `--full`. `--with portkey,litellm,ollama` and `--peers FILE` (see gateway/peers.ts) add
 * targets, and so does `--before FOLDER`, a checkout that was built. `--slots saturation,ramp`, `--rounds N` and
 * `--out FILE` (one JSON line for each slot) do what they say. `--bodies` also asks with chats of 19 and 140 kB; `--soak MINUTES`
 * does nothing but keep all features busy, and tells how their memory grows. `--profile` tells at the end whose code the main thread
 * runs while it is full.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { setPriority, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { z } from 'zod'

import type { Report } from '../../scripts/bench.mjs'
import { buildParts, chooseCores, type Part, startPart } from './gateway/parts.ts'
import { EXTRAS, readPeers } from './gateway/peers.ts'
import { bodySlots, FULL, type Plan, QUICK, soakFor } from './gateway/plan.ts'
import { profileAll } from './gateway/profile.ts'
import { composeReport, composeTable } from './gateway/report.ts'
import { measureAll, probe } from './gateway/runner.ts'
import {
  ofCheckout,
  type Place,
  startAllFeatures,
  startControl,
  startDirect,
  startPassThrough,
  type Target,
} from './gateway/targets.ts'

const OPTIONS = {
  full: { type: 'boolean', default: false },
  with: { type: 'string', default: '' },
  peers: { type: 'string' },
  before: { type: 'string' },
  slots: { type: 'string' },
  bodies: { type: 'boolean', default: false },
  soak: { type: 'string' },
  profile: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  out: { type: 'string' },
  'mock-port': { type: 'string', default: '0' },
} as const

const BODIES_MS = 2_000

/** Above all usual work. */
const PRIORITY = -10

const Address = z.object({ port: z.number() })
const say = (line: string) => void process.stdout.write(`${line}\n`)

export async function measure(args: readonly string[] = []): Promise<Report> {
  const { values } = parseArgs({ args: [...args], options: OPTIONS })
  const plan = planOf(values)
  const folder = mkdtempSync(path.join(tmpdir(), 'troupe-bench-'))
  const file = path.resolve(values.out ?? `${folder}.jsonl`)
  const cores = chooseCores()
  if (cores.note !== undefined) say(`Note: ${cores.note}.`)
  // A stale build would be measured without anybody noticing.
  execFileSync('npm', ['run', '--silent', 'build'], { stdio: 'ignore' })
  await buildParts()
  raisePriority()

  const parts: Part[] = []
  const targets: Target[] = []
  try {
    const mock = await startPart('mock-server', cores.load, [values['mock-port']])
    const load = await startPart('load-client', cores.load)
    parts.push(mock, load)
    const mockUrl = `http://127.0.0.1:${Address.parse(mock.greeting).port}`
    await startTargets({ mockUrl, core: cores.gateway, folder }, values, targets)
    if (values.peers !== undefined) targets.push(...readPeers(values.peers, mockUrl))

    const notes = new Map<string, string>()
    for (const target of targets) {
      const note = await probe(load, target)
      if (note !== undefined) notes.set(target.name, note)
    }
    const able = targets.filter(({ name }) => !notes.has(name))
    const records = await measureAll({ mock, load, cores, targets: able, plan, file, say })

    const names = targets.map(({ name }) => name)
    say(`\n${composeTable(records, names, notes).join('\n')}`)
    say('  + added to direct   ! the benchmark itself was the limit   ~ others used the machine')
    say(`  Every slot: ${file}`)
    if (values.profile) say(`\n${(await profileAll(load, able)).join('\n')}`)
    return composeReport(records, `Gateway: median of ${plan.rounds} rounds`)
  } finally {
    for (const { stop } of targets) await stop?.()
    for (const { child } of parts) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** All processes of the run inherit it. Only some users may; for the others the table marks what was disturbed. */
function raisePriority(): void {
  try {
    setPriority(PRIORITY)
  } catch {
    // The figures are then as good as the machine is quiet.
  }
}

interface Wished {
  full: boolean
  bodies: boolean
  soak?: string | undefined
  rounds?: string | undefined
  slots?: string | undefined
}

function planOf({ full, bodies, soak, rounds, slots }: Wished): Plan {
  if (soak !== undefined) return soakFor(z.coerce.number().positive().parse(soak))
  const plan = full ? FULL : QUICK
  const added = bodies ? bodySlots(BODIES_MS) : []
  const all = [...plan.slots, ...added]
  const wanted = slots?.split(',')
  return {
    ...plan,
    // What reads long chats is compiled by them alone.
    warmUps: [...plan.warmUps, ...added],
    slots: all.filter(({ name }) => wanted?.includes(name) ?? true),
    ...(rounds !== undefined && { rounds: z.coerce.number().int().positive().parse(rounds) }),
  }
}

const OWN = [startPassThrough, startAllFeatures]

/** Fills `targets` one by one, so that what was started before a failure can be stopped. */
async function startTargets(
  place: Place,
  { with: extras, before, soak }: { with: string; before?: string | undefined; soak?: string | undefined },
  targets: Target[],
): Promise<void> {
  if (soak !== undefined) {
    targets.push(await startAllFeatures(place))
    return
  }
  const earlier = before === undefined ? [] : OWN.map((start) => ofCheckout(start, path.resolve(before)))
  for (const start of [startDirect, startControl, ...OWN, ...earlier]) targets.push(await start(place))
  for (const name of extras.split(',').filter((extra) => extra !== '')) {
    const start = EXTRAS[name]
    if (start === undefined) throw new Error(`--with knows ${Object.keys(EXTRAS).join(', ')}, not "${name}"`)
    say(`Starting ${name}, which may have to be installed`)
    targets.push(await start(place))
  }
}
