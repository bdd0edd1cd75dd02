/** What a part of the program reports about itself; `telemetry/` decides where the figures go. */
export interface Metrics {
  callFinished(call: {
    kind: string
    status: string
    /** What the caller asked for. */
    model: string
    baseModel: string | null
    upstream: string | null
    firstTokenMs: number | null
    totalMs: number
    loadMs: number | null
  }): void
  /** A prompt that a model server refused as too long although our estimate said it fits. */
  promptRefused(model: string): void
  /** `route` is a pattern, never an address. */
  requestFinished(request: { method: string; route: string; status: number; ms: number }): void
}

export const silentMetrics: Metrics = {
  callFinished: () => undefined,
  promptRefused: () => undefined,
  requestFinished: () => undefined,
}
