/**
 * A real Ollama for the tests, compiled from the Go module proxy, because its own downloads cannot be pinned by a hash.
 * People bring their own Ollama: `scripts/up` only uses what answers.
 */
import { execFile } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { cached, fingerprint, installLog } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { embeddedModelFile, EMBEDDED_MODEL } from './model-server.mjs'
import { freePort } from './ports.mjs'
import { runCommand, startProcess, waitUntilUp } from './processes.mjs'

const execute = promisify(execFile)

const VERSION = '0.17.4'
/** Has miniaudio.h, which Ollama's own module leaves out; the two other headers are Debian packages. */
const MALGO = 'github.com/gen2brain/malgo@v0.11.24'
const START_MS = 30_000

/** The binary, compiled (some minutes) when it is not in the cache. */
export async function installOllama() {
  const flags = compilerFlags()
  // A binary for the CPU it was built on dies on an older one, so the CPU is part of the name.
  const key = `ollama-${VERSION}-${process.platform}-${process.arch}-${fingerprint(cpuFeatures(), ...flags)}`
  return path.join(await cached(key, (dir) => compile(dir, flags)), 'ollama')
}

/**
 * Starts Ollama on the loopback address and gives it the models; each is a name and a GGUF file. The caller stops it.
 *
 * @param {{ port?: number, dataDir: string, logFile: string, models?: Record<string, string>, env?: NodeJS.ProcessEnv }} options
 *   A free port and SmolLM2 135M by default. `env` adds settings, e.g. OLLAMA_DEBUG.
 */
export async function startOllama({ port, dataDir, logFile, models, env }) {
  const binary = await installOllama()
  const at = port ?? (await freePort())
  mkdirSync(dataDir, { recursive: true })
  // HOME, because Ollama writes a key and a history there.
  const own = {
    ...process.env,
    HOME: dataDir,
    OLLAMA_HOST: `127.0.0.1:${at}`,
    OLLAMA_MODELS: path.join(dataDir, 'models'),
    ...env,
  }
  const server = startProcess({
    name: 'Ollama',
    url: `http://127.0.0.1:${at}`,
    command: binary,
    args: ['serve'],
    env: own,
    logFile,
  })
  await waitUntilUp(server, { path: '/api/version', timeoutMs: START_MS })
  for (const [name, file] of Object.entries(models ?? { [EMBEDDED_MODEL]: await embeddedModelFile() })) {
    const modelfile = path.join(dataDir, 'Modelfile')
    writeFileSync(modelfile, `FROM ${file}\n`)
    const args = ['create', name, '-f', modelfile]
    await runCommand({
      name: `ollama create ${name}`,
      command: binary,
      args,
      env: own,
      logFile: path.join(dataDir, 'create.log'),
    })
  }
  return server
}

/**
 * @param {string} dir
 * @param {readonly string[]} flags
 */
async function compile(dir, flags) {
  const include = await cached(`miniaudio-${fingerprint(MALGO)}`, copyMiniaudio)
  await runCommand({
    name: 'Compiling Ollama',
    command: 'go',
    args: [
      'install',
      '-ldflags',
      `-s -w -X github.com/ollama/ollama/version.Version=${VERSION}`,
      `github.com/ollama/ollama@v${VERSION}`,
    ],
    env: {
      ...process.env,
      CGO_CFLAGS: flags.join(' '),
      CGO_CXXFLAGS: [...flags, `-I${include}`].join(' '),
      GOBIN: dir,
    },
    logFile: installLog('ollama'),
    remedy:
      'install a C++ compiler and two headers: apt-get install build-essential nlohmann-json3-dev libstb-dev',
  })
}

/** @param {string} dir */
async function copyMiniaudio(dir) {
  mkdirSync(path.join(dir, 'miniaudio'))
  copyFileSync(path.join(await goModule(MALGO), 'miniaudio.h'), path.join(dir, 'miniaudio', 'miniaudio.h'))
}

/**
 * Where the source of a module lies after its download.
 *
 * @param {string} module
 * @returns {Promise<string>}
 */
async function goModule(module) {
  try {
    const { stdout } = await execute('go', ['mod', 'download', '-json', module])
    return JSON.parse(stdout).Dir
  } catch (cause) {
    throw new SetupError(`${module} could not be downloaded`, {
      remedy: 'install Go 1.24 or newer (https://go.dev/dl) and check the connection to the Go module proxy',
      cause,
    })
  }
}

/** Without `-march=native` the C++ half uses no vector instructions and is three to six times slower. */
function compilerFlags() {
  if (process.arch !== 'x64') return ['-O3', '-g0', '-mcpu=native']
  // The Go build leaves out the AMX files, so code that calls them does not link on CPUs that have it.
  return ['-O3', '-g0', '-march=native', '-mno-amx-tile', '-mno-amx-int8', '-mno-amx-bf16']
}

function cpuFeatures() {
  const file = '/proc/cpuinfo'
  const text = existsSync(file) ? readFileSync(file, 'utf8') : ''
  return /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1] ?? os.cpus()[0]?.model ?? 'unknown'
}
