/** `/v1/models` stands on every client's way to its first word, and must not wait for anything outside. */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import path from 'node:path'

import { expect, test } from 'vitest'

import { sha256Hex } from '#base/ids.ts'
import { summaryOf } from '#library/shelf.ts'
import { openStore } from '#store/open.ts'

import { CONNECTION_KEY, openTestApp } from '../support/app.ts'
import { cpuTime } from '../support/cpu-time.ts'
import { sampleCard } from '../support/samples.ts'

const CHARACTERS = 2_000
/** Of the client and of us together, without what other programs make them wait. */
const MOST_MS = 50

/** Accepts every connection and never says a word. */
async function openSilence(): Promise<{ url: string; close(): void }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => sockets.add(socket.on('error', () => undefined)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

async function putCharacters(dataDir: string): Promise<void> {
  const store = await openStore(`file:${path.join(dataDir, 'troupe.sqlite')}`)
  const { characters, characterVersions: versions } = store.t
  const card = sampleCard({
    name: 'Mira',
    description: 'A keeper of lights. '.repeat(20),
    tags: ['sea', 'light'],
  })
  const time = { createdAtMs: 1, updatedAtMs: 1 }
  await store.atomically((db) =>
    Array.from({ length: CHARACTERS }, (_, at) => `mira-${String(at)}`).flatMap((id) => [
      db.insert(characters).values({ id, name: id, publishedVersion: 1, latestVersion: 1, ...time }),
      db.insert(versions).values({
        ...{
          characterId: id,
          number: 1,
          card,
          originalHash: '',
          originalName: '',
          notes: [],
          createdAtMs: 1,
        },
        ...{ summary: summaryOf(card), contentHash: sha256Hex(id) },
      }),
    ]),
  )
  await store.close()
}

test('with 2,000 characters and every server down it takes less than 50 ms, the first time too', async () => {
  const silence = await openSilence()
  const before = await openTestApp()
  await putCharacters(before.dataDir)
  const troupe = await openTestApp({
    TROUPE_DATA_DIR: before.dataDir,
    OLLAMA_BASE_URL: silence.url,
    OPENAI_API_BASE_URLS: 'http://127.0.0.1:9/v1',
  })
  const ask = async () => {
    const { value: text, cpuMs } = await cpuTime(async () =>
      (await troupe.request('GET', '/v1/models', { key: CONNECTION_KEY })).text(),
    )
    return { ms: cpuMs, count: (JSON.parse(text) as { data: unknown[] }).data.length }
  }
  // The client's own start is not ours.
  await (await troupe.request('GET', '/livez')).text()
  const tries = []
  for (let at = 0; at < 20; at++) tries.push(await ask())
  const [first = Infinity, ...later] = tries.map(({ ms }) => ms)
  const median = later.sort((a, b) => a - b)[later.length >> 1] ?? Infinity
  process.stdout.write(
    `/v1/models with ${String(CHARACTERS)} characters: first ${first.toFixed(1)} ms, median ${median.toFixed(1)} ms\n`,
  )
  expect(new Set(tries.map(({ count }) => count))).toEqual(new Set([CHARACTERS + 1]))
  expect(first).toBeLessThan(MOST_MS)
  expect(median).toBeLessThan(MOST_MS)
  silence.close()
  await troupe.close()
  await before.close()
})
