/** What handlers find in hono's context. */
import type { HttpBindings } from '@hono/node-server'

import type { Principal } from '#gateway/keys.ts'

export interface AppEnv {
  Bindings: HttpBindings
  Variables: {
    requestId: string
    principal: Principal
    /** Filled by handlers for the one log line of the request. */
    logged: Record<string, string | number | boolean | null>
    /** Filled by handlers of operations with a row in the audit: numbers and names of fields, never what stands in them. */
    auditDetail?: Record<string, unknown>
  }
}
