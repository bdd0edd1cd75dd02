/**
 * A process that records calls as a sidecar does at the end of answers, and says which ones were acknowledged, until it is
 * killed or has recorded all that it was told to. Started by tests/reliability/acknowledged-events.test.ts.
 */
import { writeSync } from 'node:fs'

import { openRecorder } from '../../sidecar/src/analytics/recorder.ts'
import { openStore } from '../../sidecar/src/store/open.ts'
import { openOutbox } from '../../sidecar/src/store/outbox.ts'
import { numbered, type RecordingJob } from './recording-job.ts'
import { sampleRecord } from './sample-record.ts'
import { silentLog } from './silent-log.ts'

const job = JSON.parse(process.argv[2] ?? '') as RecordingJob
const store = await openStore(job.url, { connections: 4, mayBeAway: true })
const outbox =
  job.outboxDir === undefined ? undefined : await openOutbox({ dir: job.outboxDir, mostBytes: 2 ** 30 })
const recorder = openRecorder({ store, outbox, log: silentLog, now: Date.now })

let acknowledged: number[] = []
let next = job.from

function say(number: number): void {
  if (acknowledged.length === 0)
    setImmediate(() => {
      writeSync(1, `${acknowledged.map(numbered).join('\n')}\n`)
      acknowledged = []
    })
  acknowledged.push(number)
}

async function recordAll(): Promise<void> {
  while (next < job.to) {
    const number = next
    next += 1
    const record = sampleRecord({
      id: `event-${numbered(number)}`,
      person: `person-${String(number % 500)}`,
      startedAtMs: Date.now(),
    })
    const lore = number % 10 === 0 ? [{ entry: 'The lamp', tokens: 12, isDropped: false }] : []
    try {
      await recorder.add(record, { lore })
      say(number)
    } catch {
      // Refused: nobody was promised anything.
    }
  }
}

await Promise.all(Array.from({ length: job.atOnce }, recordAll))
await recorder.close()
await outbox?.close()
await store.close()
