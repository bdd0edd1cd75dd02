/** When work for an answer is to end before the answer: its client left, or the process has to go. */
import type { ServerResponse } from 'node:http'

import type { AppError } from '#base/errors.ts'

const works = new WeakMap<ServerResponse, AbortController>()

/** Aborts when the client closes its socket, before or after the first byte; at once for one that has left already. */
export function goneSignal(outgoing: ServerResponse): AbortSignal {
  const gone = new AbortController()
  works.set(outgoing, gone)
  if (outgoing.destroyed) gone.abort()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  return gone.signal
}

/** Ends the work for an answer; what it throws is this reason (`endedBy`). */
export function endAnswer(outgoing: ServerResponse, reason: AppError): void {
  works.get(outgoing)?.abort(reason)
}
