import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'

import { afterEach, describe, expect, test } from 'vitest'

import { writePieces } from '#http/pieces.ts'

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

/** The bytes that a client on a socket of its own gets for these pieces. */
async function bytesFor(pieces: readonly string[], request: string): Promise<string> {
  const server = createServer((_incoming, outgoing) => {
    outgoing.writeHead(200, { 'content-type': 'text/plain' })
    const { write, end } = writePieces(outgoing)
    for (const piece of pieces) expect(write(piece)).toBe(true)
    end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('utf8')
  socket.write(request)
  let got = ''
  for await (const part of socket as AsyncIterable<string>) got += part
  return got
}

const bodyOf = (answer: string) => answer.slice(answer.indexOf('\r\n\r\n') + 4)

describe('a body in pieces', () => {
  test('is chunked, counted in bytes, and an empty piece does not end it', async () => {
    const ask = 'GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'
    const answer = await bytesFor(['one', '', 'zwölf €', 'x'.repeat(20)], ask)
    expect(answer.toLowerCase()).toContain('transfer-encoding: chunked')
    expect(bodyOf(answer)).toBe(`3\r\none\r\na\r\nzwölf €\r\n14\r\n${'x'.repeat(20)}\r\n0\r\n\r\n`)
  })

  test('leaves the connection ready for the next answer', async () => {
    const ask = (connection: string) => `GET / HTTP/1.1\r\nhost: x\r\nconnection: ${connection}\r\n\r\n`
    const answers = await bytesFor(['one'], ask('keep-alive') + ask('close'))
    expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    expect(answers.match(/3\r\none\r\n0\r\n\r\n/g)).toHaveLength(2)
  })

  test('is the bare text for a client that knows no chunks', async () => {
    expect(bodyOf(await bytesFor(['one', '', 'two'], 'GET / HTTP/1.0\r\nhost: x\r\n\r\n'))).toBe('onetwo')
  })
})
