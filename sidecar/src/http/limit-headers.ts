/**
 * How much somebody may still ask, in the two dialects that clients read: `RateLimit` of the IETF draft
 * (draft-ietf-httpapi-ratelimit-headers) and `x-ratelimit-…` of OpenAI.
 */
import type { ServerResponse } from 'node:http'

import type { AppError } from '#base/errors.ts'
import type { Allowance } from '#gateway/limits.ts'

export function setLimitHeaders(outgoing: ServerResponse, allowance: Allowance): void {
  if (outgoing.headersSent) return
  for (const [name, value] of Object.entries(limitHeaders(allowance))) outgoing.setHeader(name, value)
}

function limitHeaders({ name, most, left, windowSeconds, resetSeconds }: Allowance): Record<string, string> {
  return {
    'ratelimit-policy': `"${name}";q=${String(most)};w=${String(windowSeconds)}`,
    ratelimit: `"${name}";r=${String(left)};t=${String(resetSeconds)}`,
    'x-ratelimit-limit-requests': String(most),
    'x-ratelimit-remaining-requests': String(left),
    'x-ratelimit-reset-requests': `${String(resetSeconds)}s`,
  }
}

/** Longer waits are for people: OpenAI's own clients would sit through them. */
const PATIENCE_SECONDS = 60

export function refusalHeaders({ code, facts }: AppError): Record<string, string> {
  const { retryAfterSeconds, limitName, limitMost, windowSeconds } = facts
  if (typeof retryAfterSeconds !== 'number') return {}
  return {
    'retry-after': String(retryAfterSeconds),
    ...(code === 'quota' && retryAfterSeconds > PATIENCE_SECONDS && { 'x-should-retry': 'false' }),
    ...(typeof limitName === 'string' &&
      limitHeaders({
        name: limitName,
        most: Number(limitMost),
        left: 0,
        windowSeconds: Number(windowSeconds),
        resetSeconds: retryAfterSeconds,
      })),
  }
}
