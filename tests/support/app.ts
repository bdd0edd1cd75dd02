/** The whole app on a free port, with temporary data and whatever model servers the test names. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { openApp, type App, type AppOptions } from '../../sidecar/src/app.ts'
import { readConfig } from '../../sidecar/src/config.ts'
import { createLog } from '../../sidecar/src/base/log.ts'

import { sampleCard } from './samples.ts'

export const ADMIN_KEY = 'test-admin-key-that-is-long-enough-0123456789'
export const CONNECTION_KEY = 'test-connection-key-that-is-long-enough-01234'
export const JWT_SECRET = 'test-jwt-secret-that-is-long-enough-0123456789'

export interface TestApp {
  app: App
  url: string
  dataDir: string
  /** The log's lines, parsed. */
  logged: Record<string, unknown>[]
  request(method: string, path: string, options?: RequestOptions): Promise<Response>
  /** Imports a card as a JSON file and returns its id. */
  importCard(over?: Parameters<typeof sampleCard>[0]): Promise<string>
  close(): Promise<void>
}

export interface RequestOptions {
  key?: string | null
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
}

export async function openTestApp(
  env: Record<string, string> = {},
  options: Pick<AppOptions, 'readDocument' | 'now'> = {},
): Promise<TestApp> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-test-'))
  const logged: Record<string, unknown>[] = []
  const log = createLog('info', {
    write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>),
  })
  const config = readConfig({
    TROUPE_PORT: '0',
    TROUPE_DATA_DIR: dataDir,
    TROUPE_ADMIN_KEY: ADMIN_KEY,
    TROUPE_CONNECTION_KEY: CONNECTION_KEY,
    OLLAMA_BASE_URL: '',
    // Tests count the calls of a model server.
    TROUPE_WARM_CHARACTERS: '0',
    // One person asks more in a test file than anybody would.
    TROUPE_TURN_LIMIT: '100000/60',
    TROUPE_PARALLEL_TURNS: '1000',
    ...env,
  })
  const app = await openApp(config, { webDir: path.resolve('dist/web'), log, ...options })
  const { url } = await app.listen()

  const request: TestApp['request'] = (method, where, { key = ADMIN_KEY, body, headers, signal } = {}) =>
    fetch(new URL(where, url), {
      method,
      headers: {
        ...(key === null ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined || body instanceof FormData ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { body: body instanceof FormData || typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })

  return {
    app,
    url,
    dataDir,
    logged,
    request,
    importCard: (over) => importCard(url, over),
    async close() {
      await app.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

/** Imports a card as a JSON file and returns its id. */
export async function importCard(url: string, over: Parameters<typeof sampleCard>[0] = {}): Promise<string> {
  const form = new FormData()
  const card = { spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard(over) }
  form.append('files', new Blob([JSON.stringify(card)]), 'card.json')
  const answer = await fetch(`${url}/troupe/api/characters/import`, {
    method: 'POST',
    body: form,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  })
  const { results } = (await answer.json()) as { results: { id?: string; status: string }[] }
  const id = results[0]?.id
  if (id === undefined) throw new Error(`The card was not imported: ${JSON.stringify(results)}`)
  return id
}

/** The events of a stream, the last one as the word `[DONE]`; comments are left out. */
export async function readEvents(answer: Response): Promise<unknown[]> {
  const text = await answer.text()
  return text
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => (line === 'data: [DONE]' ? '[DONE]' : (JSON.parse(line.slice(6)) as unknown)))
}
