/** What every request gets, whichever way it takes: an id, and one line of log once its answer has left. */
import type { IncomingMessage, ServerResponse } from 'node:http'

import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Metrics } from '#base/metrics.ts'
import type { Trail, Tracer } from '#base/trail.ts'

/** Names of fields, as the client wrote them: those that can stand in a header, and not more than anybody reads. */
const IGNORED_HEADER = 'x-ignored-params'
const FIELD_NAME = /^[\w.-]{1,64}$/
const MOST_IGNORED = 50

export interface Visit extends Trail {
  incoming: IncomingMessage
  outgoing: ServerResponse
  requestId: string
  /** For the line of log: ids and numbers, no query, no text. */
  logged: Record<string, string | number | boolean | null>
  /**
   * The handler is through: the line is written now, or when the answer has left. The route is its pattern: what stands in
   * an address may be a name or a secret.
   */
  finish(route: string): void
}

export interface VisitParts {
  log: Log
  visits: Pick<Metrics, 'requestFinished'>
  tracer: Tracer
  now: () => number
}

export function beginVisit(incoming: IncomingMessage, outgoing: ServerResponse, on: VisitParts): Visit {
  const startedAtMs = on.now()
  const requestId = createId(startedAtMs)
  const logged: Visit['logged'] = {}
  const { socket, method = '', headers } = incoming
  const [readBefore, writtenBefore] = [socket.bytesRead, socket.bytesWritten]
  const traceparent = headers['traceparent']
  const ignored = new Set<string>()
  const span = on.tracer.start(method, typeof traceparent === 'string' ? traceparent : undefined)
  const write = (route: string) => {
    const { statusCode: status } = outgoing
    const ms = on.now() - startedAtMs
    // A body that came with the head was counted before us.
    const bytesIn = Number(headers['content-length'] ?? socket.bytesRead - readBefore)
    const bytesOut = socket.bytesWritten - writtenBefore
    const answered = { requestId, method, route, status, ms, bytesIn, bytesOut }
    const facts = Object.assign(answered, logged)
    on.log.info(facts, 'request')
    on.visits.requestFinished({ method, route, status, ms })
    span.end({ name: `${method} ${route}`, ...facts })
  }
  return {
    incoming,
    outgoing,
    requestId,
    logged,
    span,
    note: (facts) => void Object.assign(logged, facts),
    ignored(fields) {
      for (const field of fields)
        if (ignored.size < MOST_IGNORED && FIELD_NAME.test(field)) ignored.add(field)
      if (ignored.size > 0 && !outgoing.headersSent)
        outgoing.setHeader(IGNORED_HEADER, [...ignored].join(', '))
    },
    finish(route) {
      if (outgoing.closed) write(route)
      else outgoing.once('close', () => write(route))
    },
  }
}
