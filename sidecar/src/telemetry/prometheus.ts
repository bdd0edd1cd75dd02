/** Figures for Prometheus. Labels are bounded: characters, not people or chats. */
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

import { LOAD_MS } from '#analytics/loads.ts'
import type { RecorderState } from '#analytics/recorder.ts'
import { cacheCounts } from '#base/cache.ts'
import type { Metrics } from '#base/metrics.ts'
import type { LaneState } from '#providers/pool.ts'

import { createClusterMetrics } from './cluster-metrics.ts'

/** Seconds; from a warm small model to a cold large one. */
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]

export interface Prometheus extends Metrics {
  /** The exposition text and its media type. */
  expose(): Promise<{ text: string; mediaType: string }>
  /** A call that the limits turned away. */
  refused(rule: string): void
}

export interface PrometheusParts {
  /** What runs and waits at each model of each server. */
  lanes: () => readonly LaneState[]
  /** Whether the limits are decided by each replica alone. */
  isDegraded: () => boolean
  records: () => RecorderState
}

export function createPrometheus({ lanes, isDegraded, records }: PrometheusParts): Prometheus {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const calls = new Counter({
    name: 'troupe_model_calls_total',
    help: 'Finished model calls',
    labelNames: ['kind', 'status', 'model'],
    registers,
  })
  const firstToken = new Histogram({
    name: 'troupe_first_token_seconds',
    help: 'Time from the request to the first token',
    labelNames: ['kind'],
    buckets: BUCKETS,
    registers,
  })
  const total = new Histogram({
    name: 'troupe_call_seconds',
    help: 'Time from the request to the end of the answer',
    labelNames: ['kind'],
    buckets: BUCKETS,
    registers,
  })
  const loads = new Counter({
    name: 'troupe_model_loads_total',
    help: 'Calls for which a model server first had to load the model',
    labelNames: ['server', 'model', 'kind'],
    registers,
  })
  const refused = new Counter({
    name: 'troupe_prompts_refused_total',
    help: 'Prompts that a model server found too long although our estimate fitted',
    labelNames: ['model'],
    registers,
  })
  new Gauge({ name: 'troupe_processes', help: 'Processes behind this port', registers }).set(1)
  const requests = new Counter({
    name: 'troupe_http_requests_total',
    help: 'Answered requests, by the pattern of their route',
    labelNames: ['method', 'route', 'status'],
    registers,
  })
  observeLanes(lanes, registers)
  const turnedAway = new Counter({
    name: 'troupe_refused_total',
    help: 'Calls that a limit turned away, by limit',
    labelNames: ['limit'],
    registers,
  })
  new Gauge({
    aggregator: 'max',
    name: 'troupe_limits_degraded',
    help: 'Whether each replica grants its share by itself, because Redis does not answer',
    registers,
    collect() {
      this.set(Number(isDegraded()))
    },
  })
  observeRecords(records, registers)
  observeCaches(registers)
  const ofAllWorkers = createClusterMetrics(registry)
  const bounded = boundedLabel()
  return {
    requestFinished({ method, route, status }) {
      requests.inc({ method, route, status })
    },
    callFinished({ kind, status, model, firstTokenMs, totalMs, loadMs, upstream, baseModel }) {
      calls.inc({ kind, status, model: bounded(model) })
      if (loadMs !== null && loadMs >= LOAD_MS)
        loads.inc({ server: upstream ?? '', model: baseModel ?? '', kind })
      total.observe({ kind }, totalMs / 1_000)
      if (firstTokenMs !== null) firstToken.observe({ kind }, firstTokenMs / 1_000)
    },
    promptRefused: (model) => {
      refused.inc({ model })
    },
    refused: (limit) => {
      turnedAway.inc({ limit })
    },
    expose: async () => ({
      text: (await ofAllWorkers()) ?? (await registry.metrics()),
      mediaType: registry.contentType,
    }),
  }
}

/** A cast may have thousands of characters; each value of a label is a series that Prometheus keeps. */
const MOST_MODELS = 500

function boundedLabel(): (value: string) => string {
  const seen = new Set<string>()
  return (value) => {
    if (seen.size < MOST_MODELS) seen.add(value)
    return seen.has(value) ? value : 'other'
  }
}

function observeLanes(lanes: () => readonly LaneState[], registers: Registry[]): void {
  const observe = (
    name: string,
    help: string,
    of: (lane: LaneState) => number,
    aggregator: 'sum' | 'max' = 'sum',
  ) =>
    new Gauge({
      aggregator,
      name,
      help,
      labelNames: ['server', 'model'],
      registers,
      collect() {
        this.reset()
        // Two servers of one address, e.g. behind one gateway, are one line.
        for (const lane of lanes()) this.inc({ server: lane.server, model: lane.model }, of(lane))
      },
    })
  observe('troupe_calls_running', 'Calls that a model of a server answers now', ({ running }) => running)
  observe('troupe_calls_waiting', 'Calls that wait for a model of a server', ({ waiting }) => waiting)
  observe(
    'troupe_server_paused',
    'Whether a model of a server is left alone because it failed',
    ({ isPaused }) => Number(isPaused),
    'max',
  )
}

function observeCaches(registers: Registry[]): void {
  new Counter({
    name: 'troupe_cache_requests_total',
    help: 'How often something that is kept was asked for, and whether it was there',
    labelNames: ['cache', 'result'],
    registers,
    collect() {
      this.reset()
      for (const { cache, hits, misses } of cacheCounts()) {
        this.inc({ cache, result: 'hit' }, hits)
        this.inc({ cache, result: 'miss' }, misses)
      }
    },
  })
}

function observeRecords(records: () => RecorderState, registers: Registry[]): void {
  const observe = (name: string, help: string, of: (state: RecorderState) => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(of(records()))
      },
    })
  observe('troupe_outbox_records', 'Records that wait for their database', ({ pending }) => pending)
  observe('troupe_outbox_in_use', 'Whether records go to the outbox', ({ isSpilling }) => Number(isSpilling))
  observe('troupe_records_failing', 'Whether no record can be written', ({ isFailing }) => Number(isFailing))
  observe('troupe_records_dropped', 'Records lost since the start', ({ dropped }) => dropped)
  observe('troupe_outbox_damaged', 'Files of the outbox put aside', ({ quarantined }) => quarantined)
}
