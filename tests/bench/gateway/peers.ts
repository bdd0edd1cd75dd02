/**
 * Other gateways. `--peers FILE` names running ones, as a list of `{ "name", "url", "headers"?, "body"?, "pid"? }`: the URL
 * is that of its chat completions, and `{mock}` in a header stands for the mock server's address (see `--mock-port`).
 * `--with portkey,litellm` starts these two, from TROUPE_BENCH_PORTKEY_DIR (where it was installed by npm) and
 * TROUPE_BENCH_LITELLM_DIR (a Python environment), or from the cache, where they are installed when they are missing.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { z } from 'zod'

import { cached, cacheDir, installLog } from '../../../scripts/setup/cache.mjs'
import { runCommand, startProcess, waitUntilUp } from '../../../scripts/setup/processes.mjs'
import { findPython, findUv, pythonEnv } from '../../../scripts/setup/python.mjs'
import { freePort } from '../../support/process.ts'
import { MODEL } from './behaviour.ts'
import { onCore } from './parts.ts'
import { chatUrl, type Place, type StartTarget, startOnOllama, type Target } from './targets.ts'

const PORTKEY = '1.15.2'
const LITELLM = '1.106.2'
const START_MS = 120_000

const Peers = z.array(
  z.object({
    name: z.string().min(1),
    url: z.url(),
    headers: z.record(z.string(), z.string()).default({}),
    body: z.record(z.string(), z.unknown()).default({}),
    pid: z.number().int().positive().optional(),
  }),
)

/** Throws when the file is no list of peers. */
export function readPeers(file: string, mockUrl: string): Target[] {
  const text = readFileSync(file, 'utf8').replaceAll('{mock}', mockUrl)
  return Peers.parse(JSON.parse(text)).map(({ pid, ...peer }) => ({ ...peer, ...(pid && { pid }) }))
}

const startPortkey: StartTarget = async (place) => {
  const dir = process.env['TROUPE_BENCH_PORTKEY_DIR'] || (await installPortkey())
  const file = path.join(dir, 'node_modules/@portkey-ai/gateway/build/start-server.js')
  const port = await freePort()
  const command = [process.execPath, file, `--port=${port}`, '--headless']
  const server = await startPeer('portkey', command, port, '/', place)
  const headers = {
    authorization: 'Bearer bench',
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `${place.mockUrl}/v1`,
  }
  return { name: `portkey ${PORTKEY}`, headers, body: {}, ...server }
}

/** With the versions of its own lock file: with later ones of these two, all its streams fail. */
const PORTKEY_MANIFEST = {
  private: true,
  dependencies: { '@portkey-ai/gateway': PORTKEY },
  overrides: { hono: '4.9.7', '@hono/node-server': '1.13.5' },
}

const installPortkey = () =>
  cached(`bench-portkey-${PORTKEY}`, async (dir) => {
    writeFileSync(path.join(dir, 'package.json'), JSON.stringify(PORTKEY_MANIFEST))
    const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts']
    const what = { name: 'Installing Portkey', command: 'npm', logFile: installLog('bench-portkey') }
    await runCommand({ ...what, args, cwd: dir })
  })

const startLiteLlm: StartTarget = async (place) => {
  const dir = process.env['TROUPE_BENCH_LITELLM_DIR'] || (await installLiteLlm())
  const config = path.join(place.folder, 'litellm.json')
  const parameters = { model: `openai/${MODEL}`, api_base: `${place.mockUrl}/v1`, api_key: 'bench' }
  // JSON is YAML.
  writeFileSync(config, JSON.stringify({ model_list: [{ model_name: MODEL, litellm_params: parameters }] }))
  const port = await freePort()
  const key = `sk-${randomBytes(24).toString('hex')}`
  const command = [path.join(dir, 'bin', 'litellm'), '--config', config, '--host', '127.0.0.1']
  const env = { LITELLM_MASTER_KEY: key, LITELLM_LOCAL_MODEL_COST_MAP: 'True', LITELLM_LOG: 'ERROR' }
  const server = await startPeer(
    'litellm',
    [...command, '--port', String(port)],
    port,
    '/health/liveliness',
    place,
    env,
  )
  return { name: `litellm ${LITELLM}`, headers: { authorization: `Bearer ${key}` }, body: {}, ...server }
}

const installLiteLlm = () =>
  cached(`bench-litellm-${LITELLM}`, async (dir) => {
    const python = await findPython()
    const uv = await findUv(python)
    const env = pythonEnv({ UV_CACHE_DIR: process.env['UV_CACHE_DIR'] || path.join(cacheDir(), 'uv') })
    const what = { name: 'Installing LiteLLM', command: uv, env, logFile: installLog('bench-litellm') }
    const create = ['venv', '--quiet', '--relocatable', '--allow-existing', '--python', python ?? '3.12', dir]
    await runCommand({ ...what, args: create })
    const packages = ['--python', path.join(dir, 'bin', 'python'), `litellm[proxy]==${LITELLM}`]
    await runCommand({ ...what, args: ['pip', 'install', ...packages] })
  })

async function startPeer(
  name: string,
  commandLine: readonly string[],
  port: number,
  probe: string,
  { core, folder }: Place,
  more: NodeJS.ProcessEnv = {},
) {
  const url = `http://127.0.0.1:${port}`
  const [command, ...args] = onCore(core, commandLine)
  const env = pythonEnv({ NODE_ENV: 'production', ...more })
  const server = startProcess({ name, url, command, args, env, logFile: path.join(folder, `${name}.log`) })
  await waitUntilUp(server, { path: probe, timeoutMs: START_MS })
  return { url: chatUrl(url), pid: server.pid, stop: () => server.stop() }
}

/** What `--with` can add. */
export const EXTRAS: Readonly<Record<string, StartTarget>> = {
  portkey: startPortkey,
  litellm: startLiteLlm,
  ollama: startOnOllama,
}
