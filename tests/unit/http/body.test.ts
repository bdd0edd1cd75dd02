import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'

import { afterEach, expect, test } from 'vitest'

import { passOver, readBytes } from '../../../sidecar/src/http/body.ts'

const closing: (() => void)[] = []
afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function begin(head: string): Promise<{ client: Socket; incoming: IncomingMessage }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.on('error', () => undefined).write(`POST / HTTP/1.1\r\nhost: a\r\n${head}\r\n`)
  closing.push(() => {
    client.destroy()
    server.close()
  })
  const [incoming] = (await once(server, 'request')) as [IncomingMessage]
  return { client, incoming }
}

test('a body that comes slowly is read, one that stops coming is given up', async () => {
  const { client, incoming } = await begin('content-length: 6\r\n')
  const reading = readBytes(incoming, 100, 200)
  for (const byte of ['a', 'b', 'c']) {
    client.write(byte)
    await once(incoming, 'data')
  }
  await expect(reading).rejects.toMatchObject({
    code: 'invalid',
    message: 'The rest of the request body did not come within 0.2 s; send the request again',
  })
})

test('a body of any length is bounded while it comes', async () => {
  const { client, incoming } = await begin('transfer-encoding: chunked\r\n')
  client.write(`8\r\n${'x'.repeat(8)}\r\n`)
  await expect(readBytes(incoming, 7)).rejects.toMatchObject({ code: 'too_large' })
})

test('a whole body leaves no timer behind', async () => {
  const { client, incoming } = await begin('content-length: 2\r\n')
  const before = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
  client.write('hi')
  expect((await readBytes(incoming, 100)).toString()).toBe('hi')
  expect(process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length).toBe(before)
})

test('what nobody wants of a body is read to its end, and then nobody waits for more', async () => {
  const { client, incoming } = await begin('content-length: 6\r\n')
  passOver(incoming, 20)
  client.write('abcdef')
  await once(incoming, 'close')
  await new Promise((resolve) => setTimeout(resolve, 40))
  expect(client.destroyed).toBe(false)
  expect(incoming.socket.destroyed).toBe(false)
})

test('a body that nobody wants and that does not end is cut off', async () => {
  const { client, incoming } = await begin('content-length: 6\r\n')
  passOver(incoming, 20)
  client.write('a')
  await once(client, 'close')
  expect(incoming.complete).toBe(false)
})
