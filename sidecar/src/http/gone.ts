/** When a client leaves. */
import type { ServerResponse } from 'node:http'

/** Aborts when the client closes its socket, before or after the first byte. */
export function goneSignal(outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  return gone.signal
}
