/// <reference lib="dom" />
/** The real thing for end-to-end tests: a stock Open WebUI, a real model server, the built sidecar, and a browser. */
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'

import { startModelServer } from '../../scripts/setup/model-server.mjs'
import { startOllama } from '../../scripts/setup/ollama.mjs'
import { createUser, mintApiKey, signIn, startOpenWebUi } from '../../scripts/setup/open-webui.mjs'
import { freePort } from '../../scripts/setup/ports.mjs'
import { runTroupe, startSidecar } from '../../scripts/setup/sidecar.mjs'

import { ADMIN_KEY, CONNECTION_KEY, JWT_SECRET } from './app.ts'

const ADMIN = { email: 'admin@localhost', password: 'admin-password-of-the-test', name: 'Admin' }
const USER = { email: 'tom@localhost', password: 'user-password-of-the-test', name: 'Tom' }

type Started = Awaited<ReturnType<typeof startOllama>>

export interface Stack {
  openWebUiUrl: string
  sidecarUrl: string
  /** The sidecar's own data, apart from everything else. */
  dataDir: string
  admin: { email: string; password: string; token: string }
  user: { email: string; password: string; token: string; id: string }
  modelServer: Started
  /** Starts the sidecar over the given model servers; an earlier one is stopped first. */
  useModels(env: Record<string, string>): Promise<void>
  /** A command of `npm run troupe`. */
  troupe(...args: string[]): Promise<void>
  api<T>(route: string): Promise<T>
  /** Sends a body as an admin, and reads the JSON answer. */
  send(method: string, route: string, body: BodyInit): Promise<unknown>
  stop(): Promise<void>
}

/** Starts Open WebUI and one real model server; `useModels` starts the sidecar between them. */
export async function startStack(
  model: 'ollama' | 'llama.cpp',
  ollamaEnv: NodeJS.ProcessEnv = {},
): Promise<Stack> {
  const root = await mkdtemp(path.join(tmpdir(), 'troupe-stack-'))
  const dataDir = path.join(root, 'troupe')
  const logFile = (name: string) => path.join(root, 'logs', `${name}.log`)
  await mkdir(path.join(root, 'logs'), { recursive: true })
  const sidecarPort = await freePort()
  const openWebUiPort = await freePort()
  const sidecarUrl = `http://127.0.0.1:${String(sidecarPort)}`
  const [modelServer, openWebUi] = await Promise.all([
    model === 'ollama'
      ? startOllama({ dataDir: path.join(root, 'ollama'), logFile: logFile('ollama'), env: ollamaEnv })
      : startModelServer({ logFile: logFile('llama') }),
    startOpenWebUi({
      port: openWebUiPort,
      dataDir: path.join(root, 'open-webui'),
      logFile: logFile('open-webui'),
      sidecarUrl,
      connectionKey: CONNECTION_KEY,
      jwtSecret: JWT_SECRET,
      secretKey: 'webui-secret-of-the-end-to-end-tests',
      admin: ADMIN,
      // A small model does not know when to end; a stock setting keeps its answers short.
      env: { DEFAULT_MODEL_PARAMS: JSON.stringify({ max_tokens: 100 }) },
    }),
  ])
  const adminToken = await signIn(openWebUi.url, ADMIN)
  const apiKey = await mintApiKey(openWebUi.url, adminToken)
  const user = await createUser(openWebUi.url, adminToken, USER)
  let sidecar: Started | undefined

  const stack: Stack = {
    openWebUiUrl: openWebUi.url,
    sidecarUrl,
    dataDir,
    admin: { ...ADMIN, token: adminToken },
    user: { ...USER, ...user },
    modelServer,
    async useModels(env) {
      await sidecar?.stop()
      sidecar = await startSidecar({
        url: sidecarUrl,
        logFile: logFile('sidecar'),
        env: {
          PATH: process.env['PATH'],
          TROUPE_PORT: String(sidecarPort),
          TROUPE_DATA_DIR: dataDir,
          TROUPE_CONNECTION_KEY: CONNECTION_KEY,
          TROUPE_ADMIN_KEY: ADMIN_KEY,
          OPENWEBUI_URL: openWebUi.url,
          OPENWEBUI_API_KEY: apiKey,
          OPENWEBUI_JWT_SECRET: JWT_SECRET,
          OLLAMA_BASE_URL: '',
          TROUPE_WARM_CHARACTERS: '0',
          ...env,
        },
      })
    },
    troupe: (...args) => runTroupe(args, { url: sidecarUrl, adminKey: ADMIN_KEY, logFile: logFile('cli') }),
    async api<T>(route: string) {
      const answer = await fetch(`${sidecarUrl}${route}`, {
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
      })
      return (await answer.json()) as T
    },
    async send(method, route, body) {
      const answer = await fetch(`${sidecarUrl}${route}`, {
        method,
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
        body,
      })
      return (await answer.json()) as unknown
    },
    async stop() {
      await Promise.all([sidecar?.stop(), openWebUi.stop(), modelServer.stop()])
      await rm(root, { recursive: true, force: true })
    },
  }
  return stack
}

/** The starter cast's folders. */
export async function castFolders(): Promise<string[]> {
  const entries = await readdir('characters', { withFileTypes: true })
  return entries.filter((entry) => entry.isDirectory()).map((entry) => path.join('characters', entry.name))
}

/** All text of all files under a folder, as Latin-1: every byte is a character, so a search finds what any encoding of ours wrote. */
export async function readEverything(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
  const contents = await Promise.all(files.map((file) => readFile(file, 'latin1')))
  return contents.join('\n')
}

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

export interface Visitor {
  context: BrowserContext
  page: Page
}

/** A browser of its own, signed in at Open WebUI through its form. */
export async function signInByForm(
  browser: Browser,
  url: string,
  person: { email: string; password: string },
): Promise<Visitor> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } })
  // Keeps the dialog about a new version away; it would cover the chat.
  await context.addInitScript(() => {
    localStorage.setItem('version', '0.12.4')
  })
  const page = await context.newPage()
  await page.goto(`${url}/auth`)
  await page.locator('input[type=email]').fill(person.email)
  await page.locator('input[type=password]').fill(person.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.locator('#chat-input').waitFor({ timeout: 60_000 })
  return { context, page }
}
