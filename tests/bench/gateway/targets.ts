/** The gateways in a run. What Troupe is asked, with which key and model, is said here and nowhere else. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'

import { z } from 'zod'

import { ROOT } from '../../../scripts/setup/cache.mjs'
import { startProcess, waitUntilUp } from '../../../scripts/setup/processes.mjs'
import { SIDECAR_ENV } from '../../../scripts/setup/sidecar.mjs'
import { freePort } from '../../support/process.ts'
import { sampleCard, sampleEntry } from '../../support/samples.ts'
import { MODEL } from './behaviour.ts'
import { onCore, startPart } from './parts.ts'

export interface Target {
  name: string
  /** Of its chat completions. */
  url: string
  headers: Record<string, string>
  /** Laid over the body that all targets get. */
  body: Record<string, unknown>
  /** Of its process, where we may look at it. */
  pid?: number
  /** Where it can be told to open its inspector. */
  inspectPort?: number
  stop?: () => Promise<void>
}

/** What a target needs to be started. */
export interface Place {
  /** Without a slash at the end. */
  mockUrl: string
  core: number | undefined
  /** For data and logs; removed after the run. */
  folder: string
  /** The checkout whose build is started; ours by default. */
  checkout?: string
}

export type StartTarget = (place: Place) => Promise<Target>

export const DIRECT = 'direct'
export const CONTROL = 'control'
export const PASS_THROUGH = 'troupe pass-through'
export const ALL_FEATURES = 'troupe all features'

/** What a peer loses is its own affair. */
export const isOurs = (name: string): boolean => [DIRECT, CONTROL, PASS_THROUGH, ALL_FEATURES].includes(name)

export const chatUrl = (url: string) => `${url}/v1/chat/completions`

export const startDirect: StartTarget = ({ mockUrl }) =>
  Promise.resolve({ name: DIRECT, url: chatUrl(mockUrl), headers: {}, body: {} })

const Address = z.object({ port: z.number() })

export const startControl: StartTarget = async ({ mockUrl, core }) => {
  const inspectPort = await freePort()
  const { pid, child, greeting } = await startPart('control', core, [mockUrl], inspectPort)
  const url = chatUrl(`http://127.0.0.1:${Address.parse(greeting).port}`)
  return {
    name: CONTROL,
    url,
    headers: {},
    body: {},
    pid,
    inspectPort,
    stop: () => Promise.resolve(void child.kill()),
  }
}

// -- Troupe -----------------------------------------------------------------------------------------------------------

const ADMIN_KEY = 'bench-admin-key-that-is-long-enough-0123456789'
const CONNECTION_KEY = 'bench-connection-key-that-is-long-enough-01234'
const START_MS = 30_000
const NEVER_REACHED = 1_000_000

/** A model of the server behind, under its own name: nothing is added. */
export const startPassThrough: StartTarget = async (place) => {
  const { url, ...running } = await startTroupe('pass-through', openAiServer(place), place)
  const key = await createKey(url, [
    ['chat', 'models', 'base-models'],
    ['chat', 'models'],
  ])
  return { name: PASS_THROUGH, url: chatUrl(url), headers: bearer(key), body: { model: MODEL }, ...running }
}

/** A character with a persona and a lorebook, records, limits: what people use. */
export const startAllFeatures: StartTarget = (place) =>
  startCharacter(ALL_FEATURES, openAiServer(place), place)

/** The same target of another checkout, for a change to be seen beside what was before it. */
export const ofCheckout =
  (start: StartTarget, checkout: string): StartTarget =>
  async (place) => {
    const folder = path.join(place.folder, 'before')
    mkdirSync(folder, { recursive: true })
    const target = await start({ ...place, folder, checkout })
    return { ...target, name: `before: ${target.name}` }
  }

export const startOnOllama: StartTarget = (place) =>
  startCharacter(`${ALL_FEATURES}, Ollama`, { OLLAMA_BASE_URL: place.mockUrl }, place)

const openAiServer = ({ mockUrl }: Place) => ({
  OPENAI_API_BASE_URLS: `${mockUrl}/v1`,
  OLLAMA_BASE_URL: '',
})

async function startCharacter(name: string, servers: Record<string, string>, place: Place): Promise<Target> {
  const { url, ...running } = await startTroupe(name.replaceAll(/\W+/g, '-'), servers, place)
  const model = await importCharacter(url)
  const key = await createKey(url, [['chat', 'models']])
  return { name, url: chatUrl(url), headers: bearer(key), body: { model }, ...running }
}

async function startTroupe(
  name: string,
  servers: Record<string, string>,
  { core, folder, checkout = ROOT }: Place,
) {
  const url = `http://127.0.0.1:${await freePort()}`
  const dataDir = path.join(folder, name)
  mkdirSync(dataDir)
  const inspectPort = await freePort()
  const main = path.join(checkout, 'dist', 'main.js')
  const [command, ...args] = onCore(core, [process.execPath, `--inspect-port=${inspectPort}`, main])
  const server = startProcess({
    name: 'Troupe',
    url,
    command,
    args,
    cwd: checkout,
    logFile: path.join(folder, `${name}.log`),
    env: {
      PATH: process.env['PATH'],
      NODE_ENV: 'production',
      // As scripts/up starts it.
      ...SIDECAR_ENV,
      TROUPE_PORT: new URL(url).port,
      TROUPE_DATA_DIR: dataDir,
      TROUPE_WARM_CHARACTERS: '0',
      TROUPE_ADMIN_KEY: ADMIN_KEY,
      TROUPE_CONNECTION_KEY: CONNECTION_KEY,
      TROUPE_LOG_LEVEL: 'info',
      // On, and never reached: what they cost is measured, not that they work.
      TROUPE_CALLS_PER_SECOND: String(NEVER_REACHED),
      TROUPE_PARALLEL_CALLS: String(NEVER_REACHED),
      TROUPE_TURN_LIMIT: `${String(NEVER_REACHED)}/60`,
      TROUPE_PARALLEL_TURNS: String(NEVER_REACHED),
      ...servers,
    },
  })
  await waitUntilUp(server, { path: '/readyz', timeoutMs: START_MS })
  return { url, pid: server.pid, inspectPort, stop: () => server.stop() }
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

const NewKey = z.object({ secret: z.string() })

/** The first of the sets of scopes that this version knows. */
async function createKey(url: string, scopeSets: readonly string[][]): Promise<string> {
  for (const scopes of scopeSets) {
    const answer = await fetch(`${url}/troupe/api/keys`, {
      method: 'POST',
      headers: { ...bearer(ADMIN_KEY), 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'bench', scopes }),
    })
    if (answer.ok) return NewKey.parse(await answer.json()).secret
  }
  throw new Error('Troupe made no key for the benchmark')
}

const Imported = z.object({ results: z.array(z.object({ id: z.string() })).min(1) })

async function importCharacter(url: string): Promise<string> {
  const form = new FormData()
  const card = { spec: 'chara_card_v3', spec_version: '3.0', data: createCard() }
  form.append('files', new Blob([JSON.stringify(card)]), 'keeper.json')
  const path = '/troupe/api/characters/import'
  const answer = await fetch(url + path, { method: 'POST', headers: bearer(ADMIN_KEY), body: form })
  const { results } = Imported.parse(await answer.json())
  return results[0]?.id ?? ''
}

const LORE_ENTRIES = 200
const KEYS_PER_ENTRY = 4
/** Every request names these (see load-client.ts); the other keys stay silent. */
const MENTIONED: readonly string[] = ['harbour wall', 'the soup']

/** A persona of about 1 kB and a lorebook in which two entries fire. */
function createCard() {
  const sentence =
    '{{char}} has kept the lighthouse for thirty years, speaks slowly, and never leaves {{user}} cold. '
  const entries = Array.from({ length: LORE_ENTRIES }, (_, index) =>
    sampleEntry({
      constant: false,
      keys: Array.from({ length: KEYS_PER_ENTRY }, (_, place) =>
        place === 0 ? (MENTIONED[index] ?? `name ${index}`) : `word${index * KEYS_PER_ENTRY + place}`,
      ),
      content: `What is told at the coast about place ${index}: the stones came by ship, and the bell is older still.`,
      insertion_order: index,
    }),
  )
  return sampleCard({
    description: sentence.repeat(10),
    character_book: { extensions: {}, entries },
  })
}
