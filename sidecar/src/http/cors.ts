/** Pages of other origins that may ask with a key. Off unless a key names them. */
import type { IncomingMessage, ServerResponse } from 'node:http'

import type { Keys, Principal } from '#gateway/keys.ts'

/** As long as a browser may believe it. */
const MAX_AGE_SECONDS = 600

/** What a page may read of an answer beside its body. */
const EXPOSED =
  'x-request-id, retry-after, x-ignored-params, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests'

/** The question that a browser asks before it sends the key; false for every other request. */
export const isPreflight = ({ method, url, headers }: IncomingMessage): boolean =>
  method === 'OPTIONS' &&
  headers.origin !== undefined &&
  headers['access-control-request-method'] !== undefined &&
  url?.startsWith('/v1/') === true

/** Never rejects. */
export async function answerPreflight(
  { headers }: IncomingMessage,
  outgoing: ServerResponse,
  keys: Pick<Keys, 'mayComeFrom'>,
): Promise<void> {
  const { origin = '', 'access-control-request-headers': wanted } = headers
  const may = await keys.mayComeFrom(origin).catch(() => false)
  outgoing.setHeader('vary', 'origin')
  if (may) {
    outgoing.setHeader('access-control-allow-origin', origin)
    outgoing.setHeader('access-control-allow-methods', 'GET, POST')
    outgoing.setHeader('access-control-max-age', MAX_AGE_SECONDS)
    if (wanted !== undefined) outgoing.setHeader('access-control-allow-headers', wanted)
  }
  outgoing.writeHead(204).end()
}

/** Lets a page of an origin that the key names read the answer. */
export function allowOrigin(
  { headers: { origin } }: IncomingMessage,
  outgoing: ServerResponse,
  { origins }: Pick<Principal, 'origins'>,
): void {
  if (origin === undefined || origins?.includes(origin) !== true) return
  outgoing.setHeader('access-control-allow-origin', origin)
  outgoing.setHeader('access-control-expose-headers', EXPOSED)
  outgoing.setHeader('vary', 'origin')
}
