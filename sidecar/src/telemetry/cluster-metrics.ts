/** A scrape reaches one worker of several; the process above them adds up what all of them count. */
import cluster, { type Worker } from 'node:cluster'

import { AggregatorRegistry, type Registry } from 'prom-client'

const ANSWER_MS = 5_000

interface Question {
  troupe: 'metrics?'
  id: number
}
interface Answer {
  troupe: 'metrics'
  id: number
  text: string
}

const isFor = <T extends { troupe: string }>(message: unknown, kind: T['troupe']): message is T =>
  typeof message === 'object' && message !== null && 'troupe' in message && message.troupe === kind

/** In the process above the workers. */
export function answerWorkers(): void {
  const aggregator = new AggregatorRegistry()
  cluster.on('message', (worker: Worker, message: unknown) => {
    if (!isFor<Question>(message, 'metrics?')) return
    aggregator.clusterMetrics().then(
      (text) => worker.isConnected() && worker.send({ troupe: 'metrics', id: message.id, text }),
      () => undefined, // A worker did not answer; the one that asks falls back on its own figures.
    )
  })
}

/** In a worker: the figures of all. Undefined in a process that is none, and when no answer comes. */
export function createClusterMetrics(registry: Registry): () => Promise<string | undefined> {
  if (!cluster.isWorker) return () => Promise.resolve(undefined)
  // Made for its listener, which hands our figures to the process above.
  new AggregatorRegistry()
  AggregatorRegistry.setRegistries([registry])
  const asked = new Map<number, (text: string | undefined) => void>()
  let lastId = 0
  process.on('message', (message: unknown) => {
    if (isFor<Answer>(message, 'metrics')) asked.get(message.id)?.(message.text)
  })
  return () =>
    new Promise((resolve) => {
      const id = ++lastId
      const end = (text: string | undefined) => {
        clearTimeout(limit)
        asked.delete(id)
        resolve(text)
      }
      const limit = setTimeout(end, ANSWER_MS, undefined)
      asked.set(id, end)
      const question: Question = { troupe: 'metrics?', id }
      process.send?.(question)
    })
}
