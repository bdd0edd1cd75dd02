/**
 * Sets everything up and runs it in the foreground: a model server, Open WebUI and the sidecar, side by side where they do
 * not need each other. Runs before anything is installed, so it uses nothing but Node.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { parseArgs } from 'node:util'

import { ROOT } from './setup/cache.mjs'
import { importCast } from './setup/cast.mjs'
import { describeFailure, SetupError } from './setup/failure.mjs'
import { findModelServers, startEmbedded } from './setup/model-choice.mjs'
import { installModelServer } from './setup/model-server.mjs'
import {
  buildSidecar,
  installNodePackages,
  installSqliteAddon,
  prepareSqliteAddon,
} from './setup/node-modules.mjs'
import {
  allowSignUp,
  installOpenWebUi,
  isAdminKey,
  mintApiKey,
  signIn,
  startOpenWebUi,
} from './setup/open-webui.mjs'
import { checkPort, localHost, readPort } from './setup/ports.mjs'
import { runningServers, stopAll } from './setup/processes.mjs'
import { createProgress } from './setup/progress.mjs'
import { openSecrets, ownFieldKeys, rememberApiKey, secretsFile } from './setup/secrets.mjs'
import { runTroupe, SIDECAR_ARGS, SIDECAR_ENV, startSidecar } from './setup/sidecar.mjs'

/** @typedef {import('./setup/secrets.mjs').Secrets} Secrets */

const HELP = `Usage: ./scripts/up [--sidecar]

Sets everything up and runs it until Ctrl-C: the sidecar, a stock Open WebUI, and a model server. It uses the
Ollama at OLLAMA_BASE_URL (or the servers at OPENAI_API_BASE_URLS) if one answers; otherwise it installs and
starts a small embedded model server. The first start takes a minute or two, later ones seconds.

  --sidecar   the sidecar alone, with the environment as it is
  --help      this text

Variables and their defaults:
  TROUPE_HOST       127.0.0.1                where the sidecar and Open WebUI listen
  TROUPE_PORT       8787                     port of the sidecar
  OPENWEBUI_PORT    8080                     port of Open WebUI
  TROUPE_DATA_DIR   ./data                   databases, pictures, secrets.json, logs/
  TROUPE_CACHE_DIR  ~/.cache/troupe          what is installed outside of this folder
  WEBUI_ADMIN_EMAIL, WEBUI_ADMIN_PASSWORD    login of the first admin; a password is made otherwise
  OLLAMA_BASE_URL   http://127.0.0.1:11434   model servers, several separated by ";"
  OPENAI_API_BASE_URLS, OPENAI_API_KEYS, DEFAULT_MODEL, TASK_MODEL and all others of the sidecar
`

const progress = createProgress()
let isStopping = false

await main(process.argv.slice(2), process.env)

/**
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
async function main(args, env) {
  try {
    const { values } = parseArgs({
      args,
      options: { sidecar: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    })
    if (values.help === true) process.stdout.write(HELP)
    else if (values.sidecar === true) await runSidecarAlone(env)
    else await runEverything(env)
  } catch (error) {
    if (isStopping) return // a consequence of it
    const isUsage =
      error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
    isStopping = true
    progress.close()
    await stopAll()
    console.error(isUsage ? `${error.message}\n\n${HELP}` : describeFailure(error))
    process.exit(isUsage ? 2 : 1)
  }
}

/** @param {NodeJS.ProcessEnv} env */
async function runEverything(env) {
  stopOnSignals()
  const settings = readSettings(env)
  await checkPort({
    host: settings.host,
    port: settings.port,
    variable: 'TROUPE_PORT',
    purpose: 'the sidecar',
  })
  await checkPort({
    host: settings.host,
    port: settings.openWebUiPort,
    variable: 'OPENWEBUI_PORT',
    purpose: 'Open WebUI',
  })
  if (env['OPENWEBUI_URL']) {
    progress.say(
      'OPENWEBUI_URL is set, but this starts an Open WebUI of its own; --sidecar joins the one you have',
    )
  }
  const secrets = openSecrets(settings.dataDir, env)
  const isFirstTime = await openEverything(settings, secrets, env)
  console.log(readyLine(settings, secrets, isFirstTime))
  const { server, end } = await Promise.race(
    runningServers().map(async (server) => ({ server, end: await server.ended })),
  )
  throw new SetupError(`${server.name} ended by itself (${end})`, {
    remedy: 'read its log and start again',
    logFile: server.logFile,
  })
}

/**
 * Installs and starts all three, and fills them. Answers whether Open WebUI was new.
 *
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {NodeJS.ProcessEnv} env
 */
async function openEverything(settings, secrets, env) {
  // Open WebUI takes longest. From the second time on its key is known, and the sidecar need not wait for it.
  const hasDatabase = existsSync(path.join(settings.dataDir, 'open-webui', 'webui.db'))
  const knownKey = hasDatabase ? secrets.openWebUiApiKey : undefined
  const openWebUi = openOpenWebUi(settings, secrets, env)
  const apiKey = knownKey ?? openWebUi.then(() => makeApiKey(settings, secrets, env))
  const sidecar = openSidecar(settings, secrets, env, apiKey)
  const cast = sidecar.then(() =>
    progress.step('Importing the characters', () => importTheCast(settings, secrets)),
  )
  await Promise.all([openWebUi, cast])

  if (knownKey !== undefined && !(await isAdminKey(settings.openWebUiUrl, knownKey))) {
    throw new SetupError('Open WebUI does not accept the API key that was made for Troupe any more', {
      remedy: `delete openWebUiApiKey from ${secretsFile(settings.dataDir)} and start again; a new one will be made`,
    })
  }
  await progress.step('Showing the characters in Open WebUI', async () => {
    await troupe(settings, secrets, 'sync')
    await troupe(settings, secrets, 'functions', 'install')
  })
  return knownKey === undefined
}

/**
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {NodeJS.ProcessEnv} env
 */
async function openOpenWebUi(settings, secrets, env) {
  await progress.step('Installing Open WebUI', installOpenWebUi)
  const password = env['WEBUI_ADMIN_PASSWORD'] || secrets.adminPassword
  await progress.step('Starting Open WebUI', () =>
    startOpenWebUi({
      host: settings.host,
      port: settings.openWebUiPort,
      dataDir: path.join(settings.dataDir, 'open-webui'),
      logFile: settings.logFile('open-webui'),
      sidecarUrl: settings.sidecarUrl,
      connectionKey: secrets.connectionKey,
      jwtSecret: secrets.jwtSecret,
      secretKey: secrets.webuiSecretKey,
      ...(password !== undefined && { admin: { email: secrets.adminEmail, password } }),
    }),
  )
}

/**
 * The key with which the sidecar publishes characters, made as the admin that Open WebUI has just got.
 *
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {NodeJS.ProcessEnv} env
 */
async function makeApiKey({ openWebUiUrl, dataDir }, { adminEmail, adminPassword }, env) {
  try {
    const password = env['WEBUI_ADMIN_PASSWORD'] || adminPassword || ''
    const token = await signIn(openWebUiUrl, { email: adminEmail, password })
    await allowSignUp(openWebUiUrl, token)
    const apiKey = await mintApiKey(openWebUiUrl, token)
    rememberApiKey(dataDir, apiKey)
    return apiKey
  } catch (cause) {
    throw new SetupError(`Could not log in to Open WebUI as ${adminEmail} to make an API key`, {
      remedy: `set WEBUI_ADMIN_PASSWORD to the password of that admin; if the admin has another address, change adminEmail in ${secretsFile(dataDir)}`,
      cause,
    })
  }
}

/**
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {NodeJS.ProcessEnv} env
 * @param {string | Promise<string>} apiKey
 */
async function openSidecar(settings, secrets, env, apiKey) {
  const [modelServers, openWebUiApiKey] = await Promise.all([
    openModelServer(settings, env),
    apiKey,
    prepareSidecar(),
  ])
  const own = {
    ...env,
    ...modelServers,
    // Whoever presses Ctrl-C at home does not wait for minutes; less than `stop` gives it.
    TROUPE_DRAIN_SECONDS: env['TROUPE_DRAIN_SECONDS'] || '5',
    TROUPE_HOST: settings.host,
    TROUPE_PORT: String(settings.port),
    TROUPE_PUBLIC_URL: env['TROUPE_PUBLIC_URL'] || settings.sidecarUrl,
    TROUPE_DATA_DIR: settings.dataDir,
    TROUPE_CONNECTION_KEY: secrets.connectionKey,
    TROUPE_ADMIN_KEY: secrets.adminKey,
    TROUPE_PSEUDONYM_SECRET: secrets.pseudonymSecret,
    ...(!env['TROUPE_FIELD_KEYS'] && ownFieldKeys(settings.dataDir, secrets)),
    OPENWEBUI_URL: settings.openWebUiUrl,
    OPENWEBUI_API_KEY: openWebUiApiKey,
    OPENWEBUI_JWT_SECRET: secrets.jwtSecret,
  }
  await progress.step('Starting the sidecar', () =>
    startSidecar({ url: settings.sidecarUrl, env: own, logFile: settings.logFile('sidecar') }),
  )
}

async function prepareSidecar() {
  await Promise.all([
    progress.step('Installing Node packages', installNodePackages),
    progress.step('Compiling the SQLite addon', prepareSqliteAddon),
  ])
  await installSqliteAddon()
  await progress.step('Building the sidecar', buildSidecar)
}

/**
 * The variables that tell the sidecar of the embedded server; none when there is another.
 *
 * @param {Settings} settings
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
async function openModelServer(settings, env) {
  const found = await findModelServers(env)
  const useful = found.filter(({ models }) => models > 0)
  if (useful.length > 0) {
    progress.say(`Models come from ${useful.map(({ url }) => url).join(' and ')}`)
    return {}
  }
  const why =
    found.length > 0
      ? `${found.map(({ url }) => url).join(' and ')} has no model yet`
      : 'No model server answers'
  progress.say(
    `${why}: using the small embedded one (SmolLM2 135M, good for a first look; set OLLAMA_BASE_URL for a better one)`,
  )
  await progress.step('Installing the embedded model server', installModelServer)
  return progress.step('Starting the embedded model server', () =>
    startEmbedded(settings.logFile('model-server')),
  )
}

/**
 * A character that cannot be imported is reported, and tried again at the next start; the others are there.
 *
 * @param {Settings} settings
 * @param {Secrets} secrets
 */
async function importTheCast(settings, secrets) {
  try {
    await importCast(settings.dataDir, (folders) => troupe(settings, secrets, 'import', ...folders))
  } catch (error) {
    if (!isStopping) progress.say(describeFailure(error))
  }
}

/**
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {...string} args
 */
function troupe({ sidecarUrl, logFile }, { adminKey }, ...args) {
  return runTroupe(args, { url: sidecarUrl, adminKey, logFile: logFile(`troupe-${args[0] ?? ''}`) })
}

/**
 * @param {Settings} settings
 * @param {Secrets} secrets
 * @param {boolean} isFirstTime
 */
function readyLine({ openWebUiUrl, sidecarUrl, dataDir }, { adminEmail, adminPassword }, isFirstTime) {
  const where =
    adminPassword === undefined
      ? 'the one you chose'
      : `see ${path.relative(process.cwd(), secretsFile(dataDir))}`
  const password =
    isFirstTime && adminPassword !== undefined ? `password ${adminPassword}` : `password: ${where}`
  return `Troupe is ready: ${openWebUiUrl}  (log in as ${adminEmail} / ${password}; pages: ${sidecarUrl}/troupe/; Ctrl-C stops it)`
}

/**
 * @typedef {object} Settings
 * @property {string} host
 * @property {number} port
 * @property {number} openWebUiPort
 * @property {string} sidecarUrl
 * @property {string} openWebUiUrl
 * @property {string} dataDir
 * @property {(name: string) => string} logFile
 */

/**
 * @param {NodeJS.ProcessEnv} env
 * @returns {Settings}
 */
function readSettings(env) {
  const host = env['TROUPE_HOST'] || '127.0.0.1'
  const port = readPort(env, 'TROUPE_PORT', 8787)
  const openWebUiPort = readPort(env, 'OPENWEBUI_PORT', 8080)
  if (port === openWebUiPort) {
    throw new SetupError(`TROUPE_PORT and OPENWEBUI_PORT are both ${port}`, {
      remedy: 'set one of them to another port',
    })
  }
  const dataDir = env['TROUPE_DATA_DIR'] ? path.resolve(env['TROUPE_DATA_DIR']) : path.join(ROOT, 'data')
  return {
    host,
    port,
    openWebUiPort,
    sidecarUrl: `http://${localHost(host)}:${port}`,
    openWebUiUrl: `http://${localHost(host)}:${openWebUiPort}`,
    dataDir,
    logFile: (name) => path.join(dataDir, 'logs', `${name}.log`),
  }
}

/** The first signal stops everything in order, the second at once. */
function stopOnSignals() {
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
    process.on(signal, () => {
      const graceMs = isStopping ? 0 : undefined
      if (!isStopping) progress.say('Stopping …')
      progress.close()
      isStopping = true
      void stopAll(graceMs).then(() => process.exit(0))
    })
  }
}

/**
 * The sidecar in the foreground, its log on our output. It answers signals itself.
 *
 * @param {NodeJS.ProcessEnv} env
 */
async function runSidecarAlone(env) {
  await prepareSidecar()
  const child = spawn(process.execPath, SIDECAR_ARGS, {
    cwd: ROOT,
    env: { ...SIDECAR_ENV, ...env },
    stdio: 'inherit',
  })
  // A terminal sends SIGINT to both of us; the others come to us only.
  process.on('SIGINT', () => {})
  for (const signal of /** @type {const} */ (['SIGTERM', 'SIGHUP']))
    process.on(signal, () => child.kill(signal))
  process.exitCode = await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)))
}
