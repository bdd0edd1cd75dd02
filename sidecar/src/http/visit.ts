/** What every request gets, whichever way it takes: an id, and one line of log once its answer has left. */
import type { IncomingMessage, ServerResponse } from 'node:http'

import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'

export interface Visit {
  incoming: IncomingMessage
  outgoing: ServerResponse
  requestId: string
  /** For the line of log: ids and numbers, no query, no text. */
  logged: Record<string, string | number | boolean | null>
  /** The handler is through: the line is written now, or when the answer has left. */
  finish(): void
}

export interface VisitParts {
  log: Log
  now: () => number
}

export function beginVisit(incoming: IncomingMessage, outgoing: ServerResponse, on: VisitParts): Visit {
  const startedAtMs = on.now()
  const requestId = createId(startedAtMs)
  const logged: Visit['logged'] = {}
  const write = () => {
    const { method = '', url = '' } = incoming
    const path = url.split('?', 1)[0]
    const ms = on.now() - startedAtMs
    on.log.info({ requestId, method, path, status: outgoing.statusCode, ms, ...logged }, 'request')
  }
  const finish = () => {
    if (outgoing.closed) write()
    else outgoing.once('close', write)
  }
  return { incoming, outgoing, requestId, logged, finish }
}
