/** What a request leaves behind for those who run the house: facts in its line of log, and the steps that it took. Never a text. */

/** Ids, pseudonyms, numbers; names of the house's own characters and models. */
export type Facts = Readonly<Record<string, string | number | boolean | null>>

/** One step of a request; `telemetry/` decides whether anybody looks at it. */
export interface Span {
  /** For whoever is asked in this step (w3.org/TR/trace-context); undefined where nothing is traced. */
  readonly traceparent: string | undefined
  child(name: string): Span
  /** A second time does nothing. */
  end(facts?: Facts): void
}

export interface Tracer {
  /** The beginning of a request; `traceparent` as the client sent it. */
  start(name: string, traceparent: string | undefined): Span
  /** Sends what is waiting. */
  close(): Promise<void>
}

export interface Trail {
  readonly span: Span
  /** Goes into the line of log. */
  note(facts: Facts): void
  /** Tells the client which fields of its request change nothing. */
  ignored(fields: readonly string[]): void
}

export const silentSpan: Span = { traceparent: undefined, child: () => silentSpan, end: () => undefined }

export const silentTracer: Tracer = { start: () => silentSpan, close: () => Promise.resolve() }

export const silentTrail: Trail = { span: silentSpan, note: () => undefined, ignored: () => undefined }

/** Does the work as a step of its own. */
export async function during<T>(span: Span, name: string, work: () => Promise<T>): Promise<T> {
  const step = span.child(name)
  try {
    return await work()
  } finally {
    step.end()
  }
}
