/** The answer of /readyz: made in `telemetry/`, shown in `http/`. */
export interface Health {
  /** `degraded`: we can answer, but no model server does. */
  status: 'ready' | 'degraded' | 'unavailable'
  checks: Record<string, { ok: boolean; message?: string }>
}
