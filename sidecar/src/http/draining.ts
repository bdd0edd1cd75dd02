/**
 * The last minutes of a process. Who comes is sent elsewhere, who is being served is served to the end; what is not finished
 * in time ends with an error that says so, never with a torn socket.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import { AppError } from '#base/errors.ts'

import { writeError } from './errors.ts'
import { endAnswer } from './gone.ts'
import { beginVisit, type VisitParts } from './visit.ts'

/** An answer that is ended gets so long for its record and its last words. */
const LAST_WORDS_MS = 5_000

/** Between the closing of a socket and its end. */
const CLOSED_MS = 500

/** The body of somebody who is sent away. */
const BODY_MS = 1_000

/** Another process is up by then, or this one again. */
const RETRY_AFTER_SECONDS = 5

/** They tell of the process itself and do not keep it. */
const PROBES = new Set(['/livez', '/readyz', '/metrics'])

export interface Draining {
  readonly hasBegun: boolean
  /** Counts the request until its answer is over and its socket done with; `answer` never rejects. */
  serve(incoming: IncomingMessage, outgoing: ServerResponse, answer: () => Promise<unknown>): void
  /** Resolves once nothing runs and the server is closed. */
  begin(server: Server, windowMs: number): Promise<void>
  /** The time of those who are being served is over now. */
  hurry(): void
}

export function createDraining(on: VisitParts): Draining {
  const running = new Set<ServerResponse>()
  const hurried = new AbortController()
  let hasBegun = false
  let onEmpty: () => void = () => undefined

  /** False when the time is over first. */
  async function isEmptyWithin(ms: number, signal?: AbortSignal): Promise<boolean> {
    if (running.size === 0) return true
    const over = new AbortController()
    const signals = signal === undefined ? [over.signal] : [over.signal, signal]
    const late = sleep(ms, undefined, { signal: AbortSignal.any(signals) }).catch(() => undefined)
    const empty = new Promise<void>((resolve) => (onEmpty = resolve))
    await Promise.race([empty, late])
    over.abort()
    return running.size === 0
  }

  async function empty(server: Server, windowMs: number): Promise<void> {
    if (await isEmptyWithin(windowMs, hurried.signal)) return
    on.log.warn({ answers: running.size }, 'the time to finish is over; running answers are ended')
    for (const outgoing of running) endAnswer(outgoing, brokenOff())
    if (await isEmptyWithin(LAST_WORDS_MS)) return
    // Whoever does not read them.
    server.closeAllConnections()
    await isEmptyWithin(CLOSED_MS)
  }

  return {
    get hasBegun() {
      return hasBegun
    },
    serve(incoming, outgoing, answer) {
      const isProbe = PROBES.has(incoming.url ?? '')
      if (hasBegun && !isProbe) {
        void turnAway(incoming, outgoing, on)
        return
      }
      if (isProbe) {
        void answer()
        return
      }
      running.add(outgoing)
      let parts = 2
      const ended = () => {
        parts -= 1
        if (parts > 0) return
        running.delete(outgoing)
        if (running.size === 0) onEmpty()
      }
      outgoing.once('close', ended)
      void answer().then(ended)
    },
    async begin(server, windowMs) {
      hasBegun = true
      await empty(server, windowMs)
      // Who was just sent away still reads why.
      const late = setTimeout(() => server.closeAllConnections(), CLOSED_MS)
      await new Promise((resolve) => server.close(resolve))
      clearTimeout(late)
    },
    hurry: () => hurried.abort(),
  }
}

/** Never rejects. A socket that is closed with unread bytes is reset, and the answer lost with it: so the body is read first. */
async function turnAway(incoming: IncomingMessage, outgoing: ServerResponse, on: VisitParts): Promise<void> {
  const { requestId, logged, finish } = beginVisit(incoming, outgoing, on)
  const error = leaving()
  logged['errorCode'] = error.code
  await isRead(incoming)
  outgoing.setHeader('x-request-id', requestId)
  // Whoever keeps connections to us, a proxy, opens the next one elsewhere.
  outgoing.setHeader('connection', 'close')
  writeError(outgoing, error)
  finish('none')
}

function isRead(incoming: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    const late = setTimeout(resolve, BODY_MS)
    incoming.once('close', () => {
      clearTimeout(late)
      resolve()
    })
    incoming.resume()
  })
}

const leaving = () =>
  new AppError('unavailable', 'Troupe is being stopped or replaced here; ask again in a few seconds', {
    facts: { retryAfterSeconds: RETRY_AFTER_SECONDS },
  })

const brokenOff = () =>
  new AppError(
    'unavailable',
    'The answer was broken off because Troupe is being stopped or replaced; ask again in a few seconds',
    { facts: { retryAfterSeconds: RETRY_AFTER_SECONDS } },
  )
