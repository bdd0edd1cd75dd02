import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

import { expect, test } from 'vitest'

import { sha256Hex } from '#base/ids.ts'
import { uploadedFiles } from '#http/multipart.ts'

const MB = 1024 * 1024
/** What Node reads from a socket at once. */
const PIECE_BYTES = 65_536

/** An upload of these files, as it comes from a client. */
async function upload(files: readonly Buffer[]): Promise<IncomingMessage> {
  const form = new FormData()
  for (const [at, bytes] of files.entries())
    form.append('files', new Blob([new Uint8Array(bytes)]), `${String(at)}.json`)
  const request = new Request('http://127.0.0.1', { method: 'POST', body: form })
  const incoming = new IncomingMessage(new Socket())
  incoming.headers = { 'content-type': request.headers.get('content-type') ?? '' }
  const body = Buffer.from(await request.arrayBuffer())
  for (let at = 0; at < body.length; at += PIECE_BYTES) incoming.push(body.subarray(at, at + PIECE_BYTES))
  incoming.push(null)
  incoming.complete = true
  return incoming
}

test('large files come whole, one after the other, in the same memory', async () => {
  const files = [Buffer.alloc(3 * MB, 'a'), Buffer.from('small'), Buffer.alloc(2 * MB, 'b')]
  const rooms: ArrayBufferLike[] = []
  const hashes: string[] = []
  for await (const { bytes } of uploadedFiles(await upload(files), 8 * MB)) {
    rooms.push(bytes.buffer)
    hashes.push(sha256Hex(bytes))
  }
  expect(hashes).toEqual(files.map((file) => sha256Hex(file)))
  expect(rooms[2]).toBe(rooms[0])
})

test('two uploads at the same time do not share their memory', async () => {
  const [one, other] = [await upload([Buffer.alloc(2 * MB, 'a')]), await upload([Buffer.alloc(2 * MB, 'b')])]
  for await (const { bytes } of uploadedFiles(one, 8 * MB)) {
    for await (const { bytes: others } of uploadedFiles(other, 8 * MB)) {
      expect(others.buffer).not.toBe(bytes.buffer)
      expect(String.fromCharCode(bytes[0] ?? 0, others[0] ?? 0)).toBe('ab')
    }
  }
})

test('between two pieces of an upload everybody else has a turn', async () => {
  const state = { turns: 0, isOver: false }
  const count = () => {
    state.turns += 1
    if (!state.isOver) setImmediate(count)
  }
  const incoming = await upload([Buffer.alloc(4 * MB, 'a')])
  setImmediate(count)
  for await (const { bytes } of uploadedFiles(incoming, 8 * MB)) expect(bytes).toHaveLength(4 * MB)
  state.isOver = true
  expect(state.turns).toBeGreaterThanOrEqual((4 * MB) / PIECE_BYTES)
})
