/** Where a search may look: a base in one of its generations. Every search names its scopes, and no index answers without. */
import { createHash } from 'node:crypto'

export interface Scope {
  baseId: string
  generation: number
}

/** How indexes name a scope: one word of plain letters and digits, whatever the id of the base. */
export function scopeWord({ baseId, generation }: Scope): string {
  const digest = createHash('sha256')
    .update(`${String(generation)} ${baseId}`)
    .digest('hex')
  return `s${digest.slice(0, 24)}`
}
