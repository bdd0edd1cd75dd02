import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'

import { expect, test } from 'vitest'

import { createZip } from '#base/zip.ts'

test.each([
  ['cannot be opened', () => Promise.reject(new Error('gone'))],
  ['breaks in the middle', () => Promise.resolve(Readable.from(breaking()))],
])('a file that %s breaks the archive off, and nothing else', async (_name, open) => {
  const zip = createZip()
  zip.add('a', () => Promise.resolve(Buffer.from('whole')))
  zip.add('b', open)
  await expect(buffer(zip.end())).rejects.toThrow('gone')
})

test('whoever stops reading closes the file that is open', async () => {
  const file = new PassThrough()
  file.write('half')
  const zip = createZip()
  zip.add('a', () => Promise.resolve(file))
  const out = zip.end()
  await new Promise((resolve) => out.once('data', resolve))
  out.destroy()
  await expect.poll(() => file.destroyed).toBe(true)
})

// eslint-disable-next-line @typescript-eslint/require-await -- a stream that fails between two pieces
async function* breaking() {
  yield Buffer.from('half')
  throw new Error('gone')
}
