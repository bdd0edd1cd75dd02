/** What is measured, in which order, and how long. */
import type { Behaviour } from './behaviour.ts'
import type { Load, Pattern } from './load.ts'

export type SlotName =
  'saturation' | 'latency' | 'streams' | 'tokens' | 'ramp' | 'body19' | 'body140' | 'soak'

export interface Slot extends Load {
  name: SlotName
}

export interface Plan {
  rounds: number
  warmUps: readonly Load[]
  slots: readonly Slot[]
  /** Takes longest and moves least from round to round. */
  rampRounds: number
}

const SEED = 20_260_101
/** The size of a usual short answer. */
const ANSWER = { delayMs: 0, chunks: 1, intervalMs: 0, firstMs: 0, fillerBytes: 450 }
const SPOKEN = { delayMs: 0, chunks: 64, intervalMs: 20, firstMs: 0, fillerBytes: 0 }
const AT_ONCE = { ...SPOKEN, intervalMs: 0 }
/** Ten tokens a second, as fast as people read. */
const READ = { ...SPOKEN, chunks: 60, intervalMs: 100 }

const whole = (pattern: Pattern): Load => ({ pattern, isStream: false, behaviour: ANSWER })
const streamed = (behaviour: Behaviour, pattern: Pattern): Load => ({ pattern, isStream: true, behaviour })

const WARM_UPS: readonly Load[] = [
  whole({ mode: 'closed', connections: 16, requests: 2_000 }),
  streamed(AT_ONCE, { mode: 'closed', connections: 16, requests: 300 }),
]

const SHORT_WARM_UPS: readonly Load[] = [
  whole({ mode: 'closed', connections: 16, requests: 1_000 }),
  streamed(AT_ONCE, { mode: 'closed', connections: 16, requests: 150 }),
]

const asked = (durationMs: number) => whole({ mode: 'closed', connections: 16, durationMs })
const toldAtOnce = (durationMs: number) => streamed(AT_ONCE, { mode: 'closed', connections: 16, durationMs })

/** V8 compiles what is new in each kind of request, on the core that is measured: both kinds twice, until that is over. */
const LONG_WARM_UPS: readonly Load[] = [asked(5_000), toldAtOnce(2_000), asked(3_000), toldAtOnce(1_000)]

interface Sizes {
  saturationMs: number
  latencyMs: number
  streamsMs: number
  tokensMs: number
  rampStreams: number
  rampMs: number
}

const slotsOf = (at: Sizes): readonly Slot[] => [
  { name: 'saturation', ...whole({ mode: 'closed', connections: 64, durationMs: at.saturationMs }) },
  { name: 'latency', ...whole({ mode: 'open', perSecond: 100, durationMs: at.latencyMs, seed: SEED }) },
  {
    name: 'streams',
    ...streamed(SPOKEN, { mode: 'open', perSecond: 20, durationMs: at.streamsMs, seed: SEED }),
  },
  { name: 'tokens', ...streamed(AT_ONCE, { mode: 'closed', connections: 16, durationMs: at.tokensMs }) },
  { name: 'ramp', ...streamed(READ, { mode: 'ramp', streams: at.rampStreams, overMs: at.rampMs }) },
]

export const QUICK: Plan = {
  rounds: 2,
  rampRounds: 1,
  warmUps: WARM_UPS,
  slots: slotsOf({
    saturationMs: 2_000,
    latencyMs: 3_000,
    streamsMs: 3_000,
    tokensMs: 1_500,
    rampStreams: 200,
    rampMs: 1_000,
  }),
}

export const FULL: Plan = {
  rounds: 5,
  rampRounds: 2,
  warmUps: LONG_WARM_UPS,
  slots: slotsOf({
    saturationMs: 3_000,
    latencyMs: 3_000,
    streamsMs: 3_000,
    tokensMs: 1_500,
    rampStreams: 1_000,
    rampMs: 3_000,
  }),
}

/** Chats of some turns, and of as many as a long evening has. */
const BODIES = [
  { name: 'body19', bodyBytes: 19_000 },
  { name: 'body140', bodyBytes: 140_000 },
] as const

export const bodySlots = (durationMs: number): readonly Slot[] =>
  BODIES.map(({ name, bodyBytes }) => ({
    ...{ name, bodyBytes },
    ...whole({ mode: 'closed', connections: 16, durationMs }),
  }))

const LONGEST_CYCLE_MS = 20_000
/** Fewer say nothing of a trend. */
const FEWEST_CYCLES = 6

/** The same for a long time, in cycles whose memory is compared. */
export function soakFor(minutes: number): Plan {
  const totalMs = minutes * 60_000
  const cycleMs = Math.min(LONGEST_CYCLE_MS, totalMs / FEWEST_CYCLES)
  return {
    rounds: Math.round(totalMs / cycleMs),
    rampRounds: 0,
    warmUps: LONG_WARM_UPS,
    slots: [{ name: 'soak', ...toldAtOnce(cycleMs) }],
  }
}

/** Twice as fast as people read: as many tokens in half the time. */
const READ_FAST = { ...READ, intervalMs: 50 }

/** For the build: short, and what it says counts on a busy machine as well. */
export const GATE: Plan = {
  rounds: 2,
  rampRounds: 2,
  warmUps: SHORT_WARM_UPS,
  slots: [
    { name: 'saturation', ...asked(600) },
    { name: 'streams', ...streamed(SPOKEN, { mode: 'open', perSecond: 20, durationMs: 1_000, seed: SEED }) },
    { name: 'ramp', ...streamed(READ_FAST, { mode: 'ramp', streams: 200, overMs: 500 }) },
  ],
}
