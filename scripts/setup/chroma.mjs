/** A real Chroma server, for tests and for trying it out. The npm package brings one too, but it does not load on Debian 12. */
import path from 'node:path'

import { freePort } from './ports.mjs'
import { startProcess, waitUntilUp } from './processes.mjs'
import { installPythonEnvironment, pythonEnv } from './python.mjs'

const START_MS = 60_000

export function installChroma() {
  return installPythonEnvironment('chroma')
}

/**
 * Starts it on the loopback address: it has no login. The caller stops it.
 *
 * @param {{ port?: number, dataDir: string, logFile: string }} options A free port by default.
 */
export async function startChroma({ port, dataDir, logFile }) {
  const venv = await installChroma()
  const at = port ?? (await freePort())
  const server = startProcess({
    name: 'Chroma',
    url: `http://127.0.0.1:${at}`,
    command: path.join(venv, 'bin', 'chroma'),
    args: ['run', '--path', dataDir, '--host', '127.0.0.1', '--port', String(at)],
    env: pythonEnv({ ANONYMIZED_TELEMETRY: 'False' }),
    logFile,
  })
  await waitUntilUp(server, { path: '/api/v2/heartbeat', timeoutMs: START_MS })
  return server
}
