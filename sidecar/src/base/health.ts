/** The answer of /readyz: made in `telemetry/`, shown in `http/`. */
export interface Health {
  /** `degraded`: we can answer, but something needs a look: no model server does, or records wait for their database. */
  status: 'ready' | 'degraded' | 'unavailable'
  checks: Record<string, { ok: boolean; message?: string }>
}
