/** Sends what an order asks for and holds every answer to its promise. One order after the other, over the process's channel. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

import { clockUs, MODEL, toMarker } from './behaviour.ts'
import type { LoadResult, Order, Pattern } from './load.ts'
import { type Line, openLine } from './load-line.ts'
import { createTally } from './load-tally.ts'
import { poissonSchedule } from './statistics.ts'

/** Answers may come this much later than the pattern says. */
const LATE_MS = 15_000
/** A fixed number of requests, however slow the gateway is. */
const FIXED_NUMBER_MS = 120_000
/** Servers on Node close a connection that was idle for 5 s; a request on its way then would be lost. */
const IDLE_US = 3_000_000
/** Timers may be a millisecond late; from here on the clock is watched, where that does not cost a core. */
const WATCH_MS = 2
const WATCHED_PER_SECOND = 200

/** With the question and its marker, a body of about 500 bytes. */
const MESSAGES = [
  { role: 'system', content: 'You keep a lighthouse. Answer in one or two calm sentences.' },
  {
    role: 'user',
    content:
      'Good evening. Is there a room for the night, and perhaps something warm to eat before we sleep?',
  },
  {
    role: 'assistant',
    content:
      'There is. Mind the step, and put your coat beside the stove; the soup has been on since the boats came in.',
  },
]
const QUESTION = 'Who built the harbour wall?'

/** Earlier turns until the body is about so long. */
function historyOf(bodyBytes: number): typeof MESSAGES {
  const [system, ...turns] = MESSAGES
  if (system === undefined) return []
  const turnBytes = Buffer.byteLength(JSON.stringify(turns))
  const times = Math.max(1, Math.round((bodyBytes - Buffer.byteLength(system.content)) / turnBytes))
  return [system, ...Array.from({ length: times }, () => turns).flat()]
}

function composeRequest({ url, headers, body, isStream, behaviour, bodyBytes = 0 }: Order): Buffer {
  const { host, pathname } = new URL(url)
  const text = JSON.stringify({
    model: MODEL,
    messages: [...historyOf(bodyBytes), { role: 'user', content: `${QUESTION} ${toMarker(behaviour)}` }],
    ...(isStream ? { stream: true, stream_options: { include_usage: true } } : {}),
    ...body,
  })
  const length = String(Buffer.byteLength(text))
  const fields = { host, 'content-type': 'application/json', 'content-length': length, ...headers }
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`POST ${pathname} HTTP/1.1\r\n${lines.join('')}\r\n${text}`)
}

async function carryOut(order: Order): Promise<LoadResult> {
  const { pattern, behaviour } = order
  const url = new URL(order.url)
  const request = composeRequest(order)
  const startedAtUs = clockUs()
  const untilUs =
    pattern.mode === 'closed' && 'durationMs' in pattern ? startedAtUs + pattern.durationMs * 1_000 : Infinity
  const tally = createTally(order, startedAtUs, untilUs)
  const lines = new Set<Line>()
  const idle: Line[] = []
  let pending = 0
  let onSettled: () => void = () => undefined

  const ask = (line: Line, dueAtUs = clockUs()) => {
    pending += 1
    tally.onSent()
    line.ask(request, dueAtUs, behaviour.chunks)
  }
  const isMoreWanted = () =>
    pattern.mode === 'closed' &&
    ('requests' in pattern ? tally.sent() < pattern.requests : clockUs() < untilUs)
  const settle = () => {
    pending -= 1
    if (pending === 0) onSettled()
  }
  const open = (): Line => {
    const line = openLine(url, {
      onBody: tally.onBody,
      onAnswer: tally.onAnswer,
      onIdle(free) {
        if (isMoreWanted()) ask(free)
        else idle.push(free)
        settle()
      },
      onBroken(message, exchange) {
        lines.delete(line)
        if (exchange === undefined) return
        tally.onFailure(message, exchange)
        if (isMoreWanted()) ask(open())
        settle()
      },
    })
    lines.add(line)
    return line
  }
  const takeIdle = (): Line => {
    for (let line = idle.pop(); line !== undefined; line = idle.pop()) {
      if (line.isOpen && clockUs() - line.idleSinceUs < IDLE_US) return line
      line.close()
    }
    return open()
  }

  const settled = new Promise<void>((resolve) => (onSettled = resolve))
  if (pattern.mode === 'closed') {
    for (let count = 0; count < pattern.connections; count += 1) ask(open())
  } else {
    pending += 1 // for the one who asks
    await atEach(pattern, startedAtUs, (dueAtUs) => ask(takeIdle(), dueAtUs))
    settle()
  }
  const patience = new AbortController()
  const outOfPatience = sleep(patienceMs(order), undefined, { signal: patience.signal }).catch(
    () => undefined,
  )
  await Promise.race([settled, outOfPatience])
  patience.abort()
  for (const line of lines) {
    if (line.exchange !== undefined) tally.onFailure('not finished in time', line.exchange)
    line.close()
  }
  return tally.result()
}

/** From the last planned request on. */
function patienceMs({ pattern, behaviour }: Order): number {
  if ('requests' in pattern) return FIXED_NUMBER_MS
  const answerMs = behaviour.delayMs + behaviour.firstMs + behaviour.chunks * behaviour.intervalMs
  return answerMs + LATE_MS + (pattern.mode === 'closed' ? pattern.durationMs : 0)
}

type Planned = Exclude<Pattern, { mode: 'closed' }>

function momentsOf(pattern: Planned): number[] {
  if (pattern.mode === 'open') return poissonSchedule(pattern)
  return Array.from({ length: pattern.streams }, (_, index) => (index * pattern.overMs) / pattern.streams)
}

async function atEach(pattern: Planned, startedAtUs: number, action: (dueAtUs: number) => void) {
  const watchMs = pattern.mode === 'open' && pattern.perSecond <= WATCHED_PER_SECOND ? WATCH_MS : 0
  for (const momentMs of momentsOf(pattern)) {
    const dueAtUs = startedAtUs + Math.round(momentMs * 1_000)
    const leftMs = () => (dueAtUs - clockUs()) / 1_000
    if (leftMs() > watchMs) await sleep(leftMs() - watchMs)
    while (leftMs() > 0) await nextTurn()
    action(dueAtUs)
  }
}

process.on('message', (order) => {
  // Only our runner holds the other end of the channel.
  void carryOut(order as Order).then((result) => process.send?.(result))
})
process.on('disconnect', () => process.exit())
process.send?.('ready')
