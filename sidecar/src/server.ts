/** Where the network ends: how long a connection may take for what it does, and an address, or why it cannot be had. */
import { createServer, type RequestListener, type Server } from 'node:http'

import { AppError } from '#base/errors.ts'

import type { Config } from './config.ts'

/** Above the 60 s of common reverse proxies, so that a pooled connection is never closed just as it is reused. */
const KEEP_ALIVE_MS = 75_000
const HEADERS_TIMEOUT_MS = 10_000
/** For a whole request, Node's is 5 minutes: the file of a model takes longer on a house's network. */
const REQUEST_TIMEOUT_MS = 3_600_000

export function openServer(serve: RequestListener): Server {
  const timeouts = {
    keepAliveTimeout: KEEP_ALIVE_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
  }
  return createServer(timeouts, serve)
}

/** Rejects with AppError `unavailable` that says what to set. */
export function listen(server: Server, { host, port }: Config): Promise<{ url: string }> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE'
      const message = taken
        ? `Port ${String(port)} is taken by another program; set TROUPE_PORT to a free one`
        : `Cannot listen on ${host}:${String(port)}; check TROUPE_HOST and TROUPE_PORT`
      reject(new AppError('unavailable', message, { cause }))
    })
    server.listen(port, host, () => {
      const address = server.address()
      const taken = typeof address === 'object' && address !== null ? address.port : port
      resolve({ url: `http://${host.includes(':') ? `[${host}]` : host}:${String(taken)}` })
    })
  })
}
