/** One connection to a gateway, kept alive, with at most one request on its way. */
import { connect } from 'node:net'

import { clockUs } from './behaviour.ts'
import { createResponseReader } from './http-wire.ts'
import { createTokenCounter, type TokenCounter } from './token-counter.ts'

/** One request and what came back so far. */
export interface Exchange {
  dueAtUs: number
  status: number
  counter: TokenCounter
  hasToken: boolean
}

export interface Line {
  exchange: Exchange | undefined
  /** When the last answer was whole. */
  idleSinceUs: number
  isOpen: boolean
  /** `dueAtUs` is when the request should go out, which may be a little earlier than now. */
  ask(request: Buffer, dueAtUs: number, tokens: number): void
  close(): void
}

export interface LineEvents {
  onBody(exchange: Exchange, bytes: Buffer): void
  onAnswer(exchange: Exchange): void
  /** The answer was whole and the line is free. */
  onIdle(line: Line): void
  /** The connection broke; `exchange` is what was on its way. */
  onBroken(message: string, exchange: Exchange | undefined): void
}

export function openLine(url: URL, on: LineEvents): Line {
  const socket = connect(Number(url.port), url.hostname)
  const line: Line = {
    exchange: undefined,
    idleSinceUs: clockUs(),
    isOpen: true,
    ask(request, dueAtUs, tokens) {
      line.exchange = { dueAtUs, status: 0, counter: createTokenCounter(tokens), hasToken: false }
      socket.write(request)
    },
    close() {
      line.isOpen = false
      socket.destroy()
    },
  }
  const reader = createResponseReader({
    onHead(status) {
      if (line.exchange !== undefined) line.exchange.status = status
    },
    onBody(bytes) {
      if (line.exchange !== undefined) on.onBody(line.exchange, bytes)
    },
    onEnd() {
      const { exchange } = line
      line.exchange = undefined
      line.idleSinceUs = clockUs()
      if (exchange !== undefined) on.onAnswer(exchange)
      on.onIdle(line)
    },
  })
  const onGone = (message: string) => {
    if (!line.isOpen) return
    const { exchange } = line
    line.exchange = undefined
    line.close()
    on.onBroken(message, exchange)
  }
  socket.setNoDelay(true)
  socket.on('data', reader.read)
  socket.on('error', (error: NodeJS.ErrnoException) => onGone(error.code ?? error.message))
  socket.on('close', () => onGone('closed in the middle'))
  return line
}
