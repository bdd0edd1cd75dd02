/** When work for an answer is to end before the answer: its client left, or the process has to go. */
import type { ServerResponse } from 'node:http'

import type { AppError } from '#base/errors.ts'
import { Stopping, type StopSignal } from '#base/stopping.ts'

const works = new WeakMap<ServerResponse, Stopping>()

/** Aborts when the client closes its socket, before or after the first byte; at once for one that has left already. */
export function stopWhenGone(outgoing: ServerResponse): StopSignal {
  const gone = new Stopping()
  works.set(outgoing, gone)
  if (outgoing.destroyed) gone.abort()
  outgoing.once('close', () => {
    if (!outgoing.writableFinished) gone.abort()
  })
  return gone
}

/** The same, for what takes nothing else. */
export function goneSignal(outgoing: ServerResponse): AbortSignal {
  const gone = stopWhenGone(outgoing)
  const controller = new AbortController()
  const abort = () => controller.abort(gone.reason)
  if (gone.aborted) abort()
  else gone.addEventListener('abort', abort)
  return controller.signal
}

/** Ends the work for an answer; what it throws is this reason (`endedBy`). */
export function endAnswer(outgoing: ServerResponse, reason: AppError): void {
  works.get(outgoing)?.abort(reason)
}
