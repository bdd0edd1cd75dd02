/** The embedded model server: llama.cpp from PyPI with SmolLM2 135M. Small enough to start anywhere, not to be clever. */
import { readdirSync } from 'node:fs'
import path from 'node:path'

import { ROOT } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { freePort } from './ports.mjs'
import { startProcess, waitUntilUp } from './processes.mjs'
import { installPythonEnvironment, pythonEnv } from './python.mjs'

/** How Ollama calls the same model. */
export const EMBEDDED_MODEL = 'smollm2:135m'
const START_MS = 60_000

/** The Python environment with llama.cpp and the model, made when it is not in the cache. */
export function installModelServer() {
  return installPythonEnvironment('model-server', {
    remedy: 'check the connection to PyPI; or start an Ollama and set OLLAMA_BASE_URL to its address',
  })
}

/** The model as a GGUF file, which Ollama can take too. */
export async function embeddedModelFile() {
  const venv = await installModelServer()
  const files = readdirSync(path.join(venv, 'lib'), { recursive: true, encoding: 'utf8' })
  const file = files.find((name) => name.endsWith('.gguf'))
  if (file === undefined)
    throw new SetupError(`There is no model in ${venv}`, { remedy: 'delete that folder and start again' })
  return path.join(venv, 'lib', file)
}

/**
 * Starts the server and waits until the model is loaded. It speaks the OpenAI protocol under `<url>/v1` and listens on the
 * loopback address only. The caller stops it.
 *
 * @param {{ port?: number, logFile: string, alias?: string, apiKey?: string, embeds?: boolean, repeatPenalty?: number }} options A free port by default;
 *   `alias` is the model's name. One that `embeds` does nothing else. Without an `apiKey` everybody on this machine is answered, pages in a browser included.
 */
export async function startModelServer({
  port,
  logFile,
  alias = EMBEDDED_MODEL,
  apiKey,
  embeds = false,
  repeatPenalty = 1,
}) {
  const venv = await installModelServer()
  const at = port ?? (await freePort())
  const script = path.join(ROOT, 'scripts', 'model_server.py')
  const server = startProcess({
    name: 'the model server',
    url: `http://127.0.0.1:${at}`,
    command: path.join(venv, 'bin', 'python'),
    args: [
      ...[script, await embeddedModelFile(), String(at), '--alias', alias],
      ...['--repeat-penalty', String(repeatPenalty), ...(embeds ? ['--embed'] : [])],
    ],
    env: pythonEnv(apiKey === undefined ? {} : { MODEL_SERVER_API_KEY: apiKey }),
    logFile,
  })
  await waitUntilUp(server, { path: '/health', timeoutMs: START_MS })
  return server
}
