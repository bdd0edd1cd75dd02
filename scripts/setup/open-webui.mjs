/** A stock Open WebUI: installed from PyPI, configured by its environment only, and the few calls that a script needs. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'

import { SetupError } from './failure.mjs'
import { localHost } from './ports.mjs'
import { startProcess, waitUntilUp } from './processes.mjs'
import { installPythonEnvironment, pythonEnv } from './python.mjs'

/** Seconds on a free machine (6 warm, 12 the first time); minutes on a small one that is busy. */
const START_MS = 300_000
const CALL_MS = 30_000

/** What Open WebUI gets of our environment. It reads variables like DATABASE_URL and REDIS_URL, which are meant for the sidecar. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'LC_ALL',
  'TZ',
  'TMPDIR',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'REQUESTS_CA_BUNDLE',
]

/** Which request is which: Open WebUI fills in these templates, and the sidecar reads them. */
export const TEMPLATES = {
  'X-Troupe-Task': '{{TASK}}',
  'X-Troupe-Chat-Id': '{{CHAT_ID}}',
  'X-Troupe-Message-Id': '{{MESSAGE_ID}}',
  'X-Troupe-User-Message-Id': '{{USER_MESSAGE_ID}}',
  'X-Troupe-Parent-Id': '{{USER_MESSAGE_PARENT_ID}}',
  'X-Troupe-Model-Id': '{{MODEL_ID}}',
  'X-Troupe-Groups': '{{USER_GROUPS}}',
}

/**
 * @typedef {object} OpenWebUiOptions
 * @property {string} [host] 127.0.0.1 by default.
 * @property {number} port
 * @property {string} dataDir Its database, uploads and static files.
 * @property {string} logFile
 * @property {string} sidecarUrl Without `/v1`.
 * @property {string} connectionKey The sidecar's key for Open WebUI.
 * @property {string} jwtSecret Signs the user token that goes to the sidecar.
 * @property {string} secretKey Signs the sessions of Open WebUI.
 * @property {{ email: string, password: string, name?: string }} [admin] Made at the first start only.
 * @property {NodeJS.ProcessEnv} [env] More settings of Open WebUI, or others than ours.
 */

/** The Python environment with Open WebUI, made when it is not in the cache. */
export function installOpenWebUi() {
  return installPythonEnvironment('open-webui')
}

/**
 * Starts Open WebUI and waits until it is healthy. The caller stops it.
 *
 * @param {OpenWebUiOptions} options
 */
export async function startOpenWebUi(options) {
  const venv = await installOpenWebUi()
  const { host = '127.0.0.1', port, dataDir, logFile } = options
  const url = `http://${localHost(host)}:${port}`
  mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  const server = startProcess({
    name: 'Open WebUI',
    url,
    command: path.join(venv, 'bin', 'python'),
    args: [path.join(venv, 'bin', 'open-webui'), 'serve', '--host', host, '--port', String(port)],
    env: openWebUiEnv(options, url),
    cwd: dataDir,
    logFile,
  })
  await waitUntilUp(server, { path: '/health', timeoutMs: START_MS })
  return server
}

/**
 * @param {OpenWebUiOptions} options
 * @param {string} url
 * @returns {NodeJS.ProcessEnv}
 */
function openWebUiEnv(
  { host = '127.0.0.1', port, dataDir, sidecarUrl, connectionKey, jwtSecret, secretKey, admin, env },
  url,
) {
  const isLocal = host === '127.0.0.1' || host === 'localhost'
  return {
    ...pythonEnv({}, Object.fromEntries(PASSED_ON.map((name) => [name, process.env[name]]))),
    DATA_DIR: dataDir,
    // Inside the package by default, where every start deletes and copies it: two instances would take it from each other.
    STATIC_DIR: path.join(dataDir, 'static'),
    WEBUI_SECRET_KEY: secretKey,
    WEBUI_URL: url,
    // People type either name. A server for other machines cannot know what it is called there.
    CORS_ALLOW_ORIGIN: isLocal ? `http://127.0.0.1:${port};http://localhost:${port}` : '*',

    // Nothing leaves the machine, and nothing is looked for outside at start.
    OFFLINE_MODE: 'true',
    HF_HUB_OFFLINE: '1',
    ENABLE_VERSION_UPDATE_CHECK: 'false',
    ENABLE_COMMUNITY_SHARING: 'false',
    ANONYMIZED_TELEMETRY: 'false',
    DO_NOT_TRACK: 'true',
    SCARF_NO_ANALYTICS: 'true',
    ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS: 'false',

    // The environment decides at every start, not what was stored once.
    ENABLE_PERSISTENT_CONFIG: 'false',
    ENABLE_SIGNUP: 'true',
    DEFAULT_USER_ROLE: 'user',
    ENABLE_API_KEYS: 'true',
    ...(admin && {
      WEBUI_ADMIN_EMAIL: admin.email,
      WEBUI_ADMIN_PASSWORD: admin.password,
      WEBUI_ADMIN_NAME: admin.name ?? 'Admin',
    }),

    ENABLE_OLLAMA_API: 'false',
    ENABLE_OPENAI_API: 'true',
    OPENAI_API_BASE_URLS: `${sidecarUrl}/v1`,
    OPENAI_API_KEYS: connectionKey,
    OPENAI_API_CONFIGS: JSON.stringify({
      0: { enable: true, connection_type: 'external', auth_type: 'bearer', headers: TEMPLATES },
    }),
    ENABLE_FORWARD_USER_INFO_HEADERS: 'true',
    FORWARD_USER_INFO_HEADER_JWT_SECRET: jwtSecret,
    // It goes to every backend of Open WebUI; the shorter, the less a copy is worth.
    FORWARD_USER_INFO_HEADER_JWT_EXPIRES_SECONDS: '60',
    DEFAULT_MODEL_METADATA: JSON.stringify({ capabilities: { builtin_tools: false, usage: true } }),
    TASK_MODEL_EXTERNAL: 'troupe-task',
    ENABLE_TITLE_GENERATION: 'true',
    ENABLE_FOLLOW_UP_GENERATION: 'true',

    // A file in a chat is given to the model whole: finding passages in it would need an embedder, which torch is left out for.
    BYPASS_EMBEDDING_AND_RETRIEVAL: 'true',
    RAG_SYSTEM_CONTEXT: 'true',
    RAG_EMBEDDING_ENGINE: 'openai',
    RAG_OPENAI_API_BASE_URL: `${sidecarUrl}/v1`,
    RAG_OPENAI_API_KEY: connectionKey,
    RAG_RERANKING_MODEL: '',
    WHISPER_MODEL: '',
    ...env,
  }
}

/**
 * Signs in and answers the session token. Open WebUI refuses the sixteenth wrong try in three minutes.
 *
 * @param {string} url
 * @param {{ email: string, password: string }} person
 * @returns {Promise<string>}
 */
export async function signIn(url, { email, password }) {
  const { token } = await call(url, '/api/v1/auths/signin', { body: { email, password } })
  return String(token)
}

/**
 * Makes the API key (`sk-…`) of the person with this session; an earlier one stops working. Only for admins by default.
 *
 * @param {string} url
 * @param {string} token
 * @returns {Promise<string>}
 */
export async function mintApiKey(url, token) {
  const { api_key: key } = await call(url, '/api/v1/auths/api_key', { token, body: {} })
  return String(key)
}

/**
 * Lets people sign up. Open WebUI switches that off when it makes its first admin, until its next start.
 *
 * @param {string} url
 * @param {string} token
 */
export async function allowSignUp(url, token) {
  const settings = await call(url, '/api/v1/auths/admin/config', { token })
  await call(url, '/api/v1/auths/admin/config', { token, body: { ...settings, ENABLE_SIGNUP: true } })
}

/**
 * Adds a person, by an admin's session.
 *
 * @param {string} url
 * @param {string} token
 * @param {{ name: string, email: string, password: string, role?: 'user' | 'admin' | 'pending' }} person
 * @returns {Promise<{ id: string, token: string }>} token: a session of the new person
 */
export async function createUser(url, token, { role = 'user', ...person }) {
  const made = await call(url, '/api/v1/auths/add', { token, body: { ...person, role } })
  return { id: String(made['id']), token: String(made['token']) }
}

/**
 * True when the key is one of an admin. (The usual question "who am I" is refused to keys.)
 *
 * @param {string} url
 * @param {string} apiKey
 */
export async function isAdminKey(url, apiKey) {
  const response = await fetch(`${url}/openai/config`, {
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(CALL_MS),
  })
  await response.body?.cancel()
  return response.status === 200
}

/**
 * @param {string} url
 * @param {string} route
 * @param {{ token?: string, body?: unknown }} [options] A body makes it a POST.
 * @returns {Promise<Record<string, unknown>>}
 */
async function call(url, route, { token, body } = {}) {
  const response = await fetch(`${url}${route}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(CALL_MS),
  })
  const text = await response.text()
  if (!response.ok)
    throw new SetupError(`Open WebUI refused ${route} (${response.status}): ${text.slice(0, 300)}`)
  return JSON.parse(text)
}
