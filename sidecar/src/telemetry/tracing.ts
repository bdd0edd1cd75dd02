/**
 * Traces by OpenTelemetry over OTLP/HTTP, for those who set OTEL_EXPORTER_OTLP_ENDPOINT; the SDK reads its other variables
 * itself (sampler, headers, resource). What is sent are names of steps, ids and numbers. A collector that is down, slow or
 * hostile costs the spans and nothing else: they are sent beside the requests, bounded in number.
 */
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Context,
  type Span as OtelSpan,
  type SpanContext,
  type Tracer as OtelTracer,
} from '@opentelemetry/api'

import { silentTracer, type Facts, type Span, type Tracer } from '#base/trail.ts'

/** version, trace, parent, flags; later versions may append. */
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/

/** More spans wait for the collector than this, and the newest are dropped. */
const MOST_WAITING = 2_048
const EXPORT_TIMEOUT_MS = 5_000

/** The packages are loaded only where traces are wanted. */
export async function openTracing(endpoint: string | undefined): Promise<Tracer> {
  if (endpoint === undefined) return silentTracer
  const [{ BatchSpanProcessor, TracerProvider }, { OTLPTraceExporter }, resources] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ])
  const exporter = new OTLPTraceExporter({
    url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
    timeoutMillis: EXPORT_TIMEOUT_MS,
  })
  const provider = new TracerProvider({
    // Neither the host nor the command line with its paths: only what the operator says in OTEL_RESOURCE_ATTRIBUTES.
    resource: resources
      .resourceFromAttributes({ 'service.name': 'troupe' })
      .merge(resources.detectResources({ detectors: [resources.envDetector] })),
    spanProcessors: [new BatchSpanProcessor({ exporter, maxQueueSize: MOST_WAITING })],
  })
  const tracer = provider.getTracer('troupe')
  return {
    start: (name, traceparent) =>
      wrap(tracer, tracer.startSpan(name, { kind: SpanKind.SERVER }, contextOf(traceparent))),
    close: () => provider.shutdown().catch(() => undefined),
  }
}

function wrap(tracer: OtelTracer, span: OtelSpan): Span {
  let isOver = false
  return {
    traceparent: toTraceparent(span.spanContext()),
    child: (name) => wrap(tracer, tracer.startSpan(name, {}, trace.setSpan(ROOT_CONTEXT, span))),
    end(facts = {}) {
      if (isOver) return
      isOver = true
      span.setAttributes(attributes(facts))
      if (typeof facts['errorCode'] === 'string') span.setStatus({ code: SpanStatusCode.ERROR })
      if (typeof facts['name'] === 'string') span.updateName(facts['name'])
      span.end()
    },
  }
}

const attributes = (facts: Facts) =>
  Object.fromEntries(
    Object.entries(facts).flatMap(([name, value]) =>
      value === null || name === 'name' ? [] : [[`troupe.${name}`, value]],
    ),
  )

function contextOf(traceparent: string | undefined): Context {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent ?? '') ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return ROOT_CONTEXT
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
  })
}

const toTraceparent = ({ traceId, spanId, traceFlags }: SpanContext): string =>
  `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`
