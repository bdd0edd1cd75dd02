/** Days and months of quotas, in UTC: one calendar for everybody. Pure. */

export interface Period {
  name: 'day' | 'month'
  /** `2026-11-27` or `2026-11`. */
  id: string
  endsAtMs: number
}

export function dayOf(atMs: number): Period {
  const at = new Date(atMs)
  const endsAtMs = Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), at.getUTCDate() + 1)
  return { name: 'day', id: at.toISOString().slice(0, 10), endsAtMs }
}

export function monthOf(atMs: number): Period {
  const at = new Date(atMs)
  const endsAtMs = Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1)
  return { name: 'month', id: at.toISOString().slice(0, 7), endsAtMs }
}
