/** What every request gets, whichever way it takes: an id, and one line of log once its answer has left. */
import type { IncomingMessage, ServerResponse } from 'node:http'

import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import { KEY_IN_TEXT } from '#gateway/keys.ts'

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
    // Somebody may have put a key where a name belongs.
    const path = url.split('?', 1)[0]?.replace(KEY_IN_TEXT, 'troupe_…')
    const ms = on.now() - startedAtMs
    on.log.info({ requestId, method, path, status: outgoing.statusCode, ms, ...logged }, 'request')
  }
  const finish = () => {
    if (outgoing.closed) write()
    else outgoing.once('close', write)
  }
  return { incoming, outgoing, requestId, logged, finish }
}
