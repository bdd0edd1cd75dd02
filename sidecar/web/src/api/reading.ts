/**
 * What arrives is read field by field: a missing field becomes an empty value, so that an older or newer sidecar shows less
 * instead of nothing.
 */

export const fields = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? { ...value } : {}
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : [])
export const text = (value: unknown): string => (typeof value === 'string' ? value : '')
export const numeral = (value: unknown): number | null => (typeof value === 'number' ? value : null)

/** Only http: an address with another scheme must not become a link. */
export function webAddress(value: unknown): string | null {
  const address = text(value)
  return URL.canParse(address) && /^https?:$/.test(new URL(address).protocol) ? address : null
}
