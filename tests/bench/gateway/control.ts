/** The least that a gateway on Node can do, written as fast as it can be: what every other one is compared with. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'

import { type Dispatcher, Pool } from 'undici'

const pool = new Pool(process.argv[2] ?? '', { connections: null, pipelining: 1, bodyTimeout: 0 })

const FORWARDED = ['content-type', 'content-length', 'cache-control']

const server = createServer((incoming, outgoing) => {
  const pieces: Buffer[] = []
  incoming.on('data', (piece: Buffer) => pieces.push(piece))
  incoming.on('end', () => forward(incoming, Buffer.concat(pieces), outgoing))
})

function forward({ url = '/', method }: IncomingMessage, body: Buffer, outgoing: ServerResponse): void {
  const headers = { 'content-type': 'application/json' }
  const request: Dispatcher.DispatchOptions = {
    path: url,
    method: method as Dispatcher.HttpMethod,
    headers,
    body: body.length === 0 ? null : body,
  }
  pool.dispatch(request, {
    onRequestStart(controller) {
      outgoing.on('drain', () => controller.resume())
      outgoing.on('close', () => {
        if (!outgoing.writableFinished) controller.abort(new Error('The client left'))
      })
    },
    onResponseStart(_controller, status, headers) {
      for (const name of FORWARDED) {
        const value = headers[name]
        if (value !== undefined) outgoing.setHeader(name, value)
      }
      outgoing.writeHead(status)
    },
    onResponseData(controller, bytes) {
      if (!outgoing.write(bytes)) controller.pause()
    },
    onResponseEnd: () => void outgoing.end(),
    onResponseError: () => void outgoing.destroy(),
  })
}

server.listen(0, '127.0.0.1', () => process.send?.(server.address()))
process.on('disconnect', () => process.exit())
