import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'

import { expect, test } from 'vitest'

import { goneSignal } from '../../../sidecar/src/http/gone.ts'

async function begin(): Promise<{ client: Socket; outgoing: ServerResponse; close(): void }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => undefined).write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
  const [, outgoing] = (await once(server, 'request')) as [unknown, ServerResponse]
  return { client, outgoing, close: () => server.close() }
}

test('a client that leaves is noticed, also when it left before anybody asked', async () => {
  const { client, outgoing, close } = await begin()
  const early = goneSignal(outgoing)
  expect(early.aborted).toBe(false)
  client.destroy()
  await once(outgoing, 'close')
  expect(early.aborted).toBe(true)
  expect(goneSignal(outgoing).aborted).toBe(true)
  close()
})

test('an answer that is through is no leaving', async () => {
  const { client, outgoing, close } = await begin()
  const signal = goneSignal(outgoing)
  client.resume()
  outgoing.end('done')
  await once(outgoing, 'close')
  expect(signal.aborted).toBe(false)
  client.destroy()
  close()
})
