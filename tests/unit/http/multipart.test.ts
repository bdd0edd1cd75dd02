import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'

import { expect, test } from 'vitest'

import { sha256Hex } from '#base/ids.ts'
import { uploadedFiles } from '#http/multipart.ts'

const MB = 1024 * 1024

/** An upload of these files, as it comes from a client. */
async function upload(files: readonly Buffer[]): Promise<IncomingMessage> {
  const form = new FormData()
  for (const [at, bytes] of files.entries())
    form.append('files', new Blob([new Uint8Array(bytes)]), `${String(at)}.json`)
  const request = new Request('http://127.0.0.1', { method: 'POST', body: form })
  const incoming = new IncomingMessage(new Socket())
  incoming.headers = { 'content-type': request.headers.get('content-type') ?? '' }
  incoming.push(Buffer.from(await request.arrayBuffer()))
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
