/** When a client leaves. */
import type { ServerResponse } from 'node:http'

/** Aborts when the client closes its socket, before or after the first byte; at once for one that has left already. */
export function goneSignal(outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController()
  if (outgoing.destroyed) gone.abort()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  return gone.signal
}
