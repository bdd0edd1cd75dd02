/** Many slots become one table, and the few figures that the project holds itself to. Pure. */
import type { Report, Row } from '../../../scripts/bench.mjs'
import type { SlotName } from './plan.ts'
import type { SlotRecord } from './runner.ts'
import { median } from './statistics.ts'
import { ALL_FEATURES, CONTROL, DIRECT, isOurs, PASS_THROUGH } from './targets.ts'

/** A figure over all rounds, with what its reader has to know. */
interface Figure {
  value: number
  /** Every one of its slots was limited by the benchmark itself. */
  isRefused: boolean
  /** Others used the machine in every one of its slots. */
  isDisturbed: boolean
}

type Pick = (record: SlotRecord) => number

const requestsPerSecond: Pick = ({ result }) => (result.finished / result.durationMs) * 1_000
const tokensPerSecond: Pick = ({ result }) => (result.tokens / result.durationMs) * 1_000
const cpuUsPerRequest: Pick = ({ result, gatewayCpuMs }) => (gatewayCpuMs * 1_000) / result.finished
const cpuUsPerChunk: Pick = ({ result, gatewayCpuMs }) => (gatewayCpuMs * 1_000) / result.tokens

/** Refused rounds do not count where there are others; nor, of what is left, disturbed ones. */
function figure(rounds: readonly Figure[]): Figure {
  const accepted = rounds.filter(({ isRefused }) => !isRefused)
  const usable = accepted.length > 0 ? accepted : rounds
  const calm = usable.filter(({ isDisturbed }) => !isDisturbed)
  return {
    value: median((calm.length > 0 ? calm : usable).map(({ value }) => value)),
    isRefused: accepted.length === 0,
    isDisturbed: calm.length === 0,
  }
}

/** Every figure of the table, as a function of the target's name. */
function figuresOf(records: readonly SlotRecord[]) {
  const find = (target: string, slot: SlotName) =>
    records.filter((record) => record.target === target && record.slot === slot)

  const plain = (slot: SlotName, pick: Pick) => (target: string) =>
    figure(find(target, slot).map((record) => ({ ...record, value: pick(record) })))

  /** Round by round, because the machine moves between rounds. */
  const beside =
    (other: string, slot: SlotName, combine: (own: SlotRecord, other: SlotRecord) => number) =>
    (target: string) =>
      figure(
        find(target, slot).flatMap((own) => {
          const theirs = find(other, slot).find(({ round }) => round === own.round)
          if (theirs === undefined) return []
          const isRefused = own.isRefused || theirs.isRefused
          const isDisturbed = own.isDisturbed || theirs.isDisturbed
          return [{ value: combine(own, theirs), isRefused, isDisturbed }]
        }),
      )
  const added = (slot: SlotName, pick: Pick) =>
    beside(DIRECT, slot, (own, direct) => pick(own) - pick(direct))
  const ofControl = (slot: SlotName, pick: Pick) =>
    beside(CONTROL, slot, (own, control) => pick(own) / pick(control))

  return {
    requests: plain('saturation', requestsPerSecond),
    requestsOfControl: ofControl('saturation', requestsPerSecond),
    requestCpuUs: plain('saturation', cpuUsPerRequest),
    addedP50Ms: added('latency', ({ result }) => result.latencyMs.p50),
    addedP95Ms: added('latency', ({ result }) => result.latencyMs.p95),
    addedP99Ms: added('latency', ({ result }) => result.latencyMs.p99),
    firstTokenP50Ms: added('streams', ({ result }) => result.firstTokenMs.p50),
    firstTokenP95Ms: added('streams', ({ result }) => result.firstTokenMs.p95),
    tokenDelayP99Ms: plain('streams', ({ result }) => result.tokenDelayMs.p99),
    tokens: plain('tokens', tokensPerSecond),
    tokensOfControl: ofControl('tokens', tokensPerSecond),
    rampSent: plain('ramp', ({ result }) => result.sent),
    rampFinished: plain('ramp', ({ result }) => result.finished),
    rampFirstTokenP99Ms: plain('ramp', ({ result }) => result.firstTokenMs.p99),
    rampMemoryBytes: plain('ramp', ({ memoryPeakBytes }) => memoryPeakBytes),
    chunkCpuUs: plain('ramp', cpuUsPerChunk),
    chunkCpuOfControl: ofControl('ramp', cpuUsPerChunk),
    body19OfControl: ofControl('body19', requestsPerSecond),
    body19CpuOfControl: ofControl('body19', cpuUsPerRequest),
    body140OfControl: ofControl('body140', requestsPerSecond),
    body140CpuOfControl: ofControl('body140', cpuUsPerRequest),
  }
}

type Figures = ReturnType<typeof figuresOf>

// -- the table --------------------------------------------------------------------------------------------------------

const thousands = (value: number) => `${(value / 1_000).toFixed(1)}k`
const times = (value: number) => `${value.toFixed(2)}x`
const ms = (value: number) => value.toFixed(2)

const COLUMNS: readonly (readonly [string, keyof Figures, (value: number) => string])[] = [
  ['req/s', 'requests', thousands],
  ['of control', 'requestsOfControl', times],
  ['CPU us/req', 'requestCpuUs', (value) => value.toFixed(0)],
  ['+p50 ms', 'addedP50Ms', ms],
  ['+p95', 'addedP95Ms', ms],
  ['+p99', 'addedP99Ms', ms],
  ['+TTFT p50 ms', 'firstTokenP50Ms', ms],
  ['+p95', 'firstTokenP95Ms', ms],
  ['token p99 ms', 'tokenDelayP99Ms', ms],
  ['tokens/s', 'tokens', thousands],
  ['of control', 'tokensOfControl', times],
  ['streams', 'rampSent', (value) => value.toFixed(0)],
  ['finished', 'rampFinished', (value) => value.toFixed(0)],
  ['TTFT p99 ms', 'rampFirstTokenP99Ms', ms],
  ['PSS MB', 'rampMemoryBytes', (value) => (value === 0 ? '-' : (value / 2 ** 20).toFixed(0))],
  ['CPU us/chunk', 'chunkCpuUs', (value) => value.toFixed(0)],
  ['of control', 'chunkCpuOfControl', times],
]

/** One line for each target; `notes` says why one has no figures. */
export function composeTable(
  records: readonly SlotRecord[],
  targets: readonly string[],
  notes: ReadonlyMap<string, string>,
): string[] {
  const figures = figuresOf(records)
  const columns = COLUMNS.filter(([, name]) =>
    targets.some((target) => Number.isFinite(figures[name](target).value)),
  )
  const head = ['', ...columns.map(([title]) => title)]
  const rows = targets.map((target) => {
    const note = notes.get(target)
    if (note !== undefined) return [target, note]
    return [target, ...columns.map(([, name, show]) => cell(figures[name](target), show))]
  })
  const widths = head.map((title, place) =>
    Math.max(
      title.length,
      ...rows.filter((row) => row.length > 2 || place === 0).map((row) => (row[place] ?? '').length),
    ),
  )
  return [head, ...rows].map((row) =>
    row.length === 2
      ? `  ${(row[0] ?? '').padEnd(widths[0] ?? 0)}  ${row[1] ?? ''}`
      : `  ${row.map((text, place) => (place === 0 ? text.padEnd(widths[0] ?? 0) : text.padStart(widths[place] ?? 0))).join('  ')}`,
  )
}

function cell({ value, isRefused, isDisturbed }: Figure, show: (value: number) => string): string {
  if (!Number.isFinite(value)) return '-'
  return `${show(value)}${isRefused ? '!' : ''}${isDisturbed ? '~' : ''}`
}

// -- what must hold ---------------------------------------------------------------------------------------------------

/** Goals, and beyond a margin wider than the noise the gates: only ratios to the control of the same run, and facts. */
export function composeReport(records: readonly SlotRecord[], title: string): Report {
  const figures = figuresOf(records)
  const ratio = (own: Figure, control: Figure): Figure => ({ ...own, value: own.value / control.value })
  const judged: [Figure, Omit<Row, 'value'>][] = [
    [
      figures.requestsOfControl(ALL_FEATURES),
      { name: 'all features: req/s of control', unit: 'times', least: 0.4, failsAt: 0.3 },
    ],
    [
      figures.requestsOfControl(PASS_THROUGH),
      { name: 'pass-through: req/s of control', unit: 'times', least: 0.7, failsAt: 0 },
    ],
    [
      ratio(figures.addedP50Ms(ALL_FEATURES), figures.addedP50Ms(CONTROL)),
      { name: 'all features: added p50 of control', unit: 'times', most: 2.4, failsAt: 4 },
    ],
    [
      figures.firstTokenP50Ms(ALL_FEATURES),
      { name: 'all features: TTFT added p50', unit: 'ms', most: 1.5, failsAt: Infinity },
    ],
    [
      figures.chunkCpuOfControl(ALL_FEATURES),
      { name: 'all features: CPU per chunk of control', unit: 'times', most: 1.3, failsAt: Infinity },
    ],
  ]
  const isJudged = ({ value, isRefused }: Figure) => Number.isFinite(value) && value > 0 && !isRefused
  const rows = judged.filter(([own]) => isJudged(own)).map(([{ value }, row]) => ({ ...row, value }))
  const isSoak = records.every(({ slot }) => slot === 'soak')
  const skipped = isSoak ? [] : judged.filter(([own]) => !isJudged(own)).map(([, { name }]) => name)
  const remark = skipped.length === 0 ? '' : ` (no figure to judge: ${skipped.join('; ')})`
  return { title: title + remark, rows: [...rows, ...bodies(figures), ...soak(records), ...facts(records)] }
}

/** Figures without a goal. */
function bodies(figures: Figures): Row[] {
  const kinds = [
    ['req/s of control, bodies of 19 kB', figures.body19OfControl],
    ['CPU of control, bodies of 19 kB', figures.body19CpuOfControl],
    ['req/s of control, bodies of 140 kB', figures.body140OfControl],
    ['CPU of control, bodies of 140 kB', figures.body140CpuOfControl],
  ] as const
  return [PASS_THROUGH, ALL_FEATURES].flatMap((target) =>
    kinds.flatMap(([what, of]) => {
      const { value } = of(target)
      return Number.isFinite(value) ? [{ name: `${target}: ${what}`, unit: 'times' as const, value }] : []
    }),
  )
}

const HOUR_MS = 3_600_000

/** What the process held in the cycles of a long run: the last third beside the middle one, since the first fills caches. */
function soak(records: readonly SlotRecord[]): Row[] {
  const cycles = records.filter(({ target, slot }) => target === ALL_FEATURES && slot === 'soak')
  const third = Math.floor(cycles.length / 3)
  if (third === 0) return []
  const heldMb = (some: readonly SlotRecord[]) =>
    median(some.map(({ memoryPeakBytes }) => memoryPeakBytes)) / 2 ** 20
  const [middle, last] = [heldMb(cycles.slice(third, 2 * third)), heldMb(cycles.slice(-third))]
  const apartMs = (cycles.reduce((sum, { wallMs }) => sum + wallMs, 0) * third) / cycles.length
  const answers = cycles.reduce((sum, { result }) => sum + result.finished, 0)
  return [
    { name: 'soak: answers', value: answers, unit: '' },
    { name: 'soak: MB held in the middle third', value: middle, unit: '' },
    { name: 'soak: MB more in an hour', value: ((last - middle) / apartMs) * HOUR_MS, unit: '' },
    {
      name: 'soak: memory, last third of middle',
      value: last / middle,
      unit: 'times',
      most: 1.1,
      failsAt: 1.3,
    },
  ]
}

function facts(records: readonly SlotRecord[]): Row[] {
  const own = records.filter(({ target }) => isOurs(target))
  const sum = (pick: Pick) => own.reduce((total, record) => total + pick(record), 0)
  const none = { unit: '', most: 0, failsAt: 0 } as const
  return [
    { name: 'tokens lost', value: sum(({ result }) => result.lost), ...none },
    { name: 'tokens extra', value: sum(({ result }) => result.extra), ...none },
    { name: 'tokens out of order', value: sum(({ result }) => result.disordered), ...none },
    {
      name: 'requests that failed',
      value: sum(({ result }) => Object.values(result.errors).reduce((total, count) => total + count, 0)),
      ...none,
    },
  ]
}
