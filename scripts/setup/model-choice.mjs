/** Which model servers the sidecar uses: those of the environment that answer and have a model, else the embedded one. */
import { randomBytes } from 'node:crypto'

import { startModelServer } from './model-server.mjs'

const OLLAMA_URL = 'http://127.0.0.1:11434'
/** How long a server may take to say what it has. */
const PROBE_MS = 1_500
/** Without one a model of this size says its second sentence over and over until its room is full. */
const REPEAT_PENALTY = 1.1

/**
 * @typedef {object} Found
 * @property {string} url
 * @property {number} models How many it offers.
 */

/**
 * The model servers of the environment that answer now.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<Found[]>}
 */
export async function findModelServers(env) {
  const keys = listOf(env['OPENAI_API_KEYS'])
  const found = await Promise.all([
    ...listOf(env['OLLAMA_BASE_URL'] ?? OLLAMA_URL).map((url) => probe(url, '/api/tags')),
    ...listOf(env['OPENAI_API_BASE_URLS']).map((url, index) => probe(url, '/models', keys[index])),
  ])
  return found.filter((server) => server !== undefined)
}

/**
 * Starts the embedded server and answers what the sidecar needs to know of it, as variables of its environment.
 *
 * @param {string} logFile
 */
export async function startEmbedded(logFile) {
  const apiKey = randomBytes(32).toString('base64url')
  const { url } = await startModelServer({ logFile, apiKey, repeatPenalty: REPEAT_PENALTY })
  return { OLLAMA_BASE_URL: '', OPENAI_API_BASE_URLS: `${url}/v1`, OPENAI_API_KEYS: apiKey }
}

/**
 * @param {string} url
 * @param {string} route
 * @param {string} [key]
 * @returns {Promise<Found | undefined>}
 */
async function probe(url, route, key) {
  if (url === '') return undefined
  try {
    const response = await fetch(`${url.replace(/\/+$/, '')}${route}`, {
      ...(key && { headers: { authorization: `Bearer ${key}` } }),
      signal: AbortSignal.timeout(PROBE_MS),
    })
    if (!response.ok) return undefined
    const answer = /** @type {{ models?: unknown[], data?: unknown[] }} */ (await response.json())
    // Ollama calls its list `models`, the others `data`; llama.cpp sends both.
    return { url, models: (answer.models ?? answer.data ?? []).length }
  } catch {
    // Nothing there, or nothing that talks like a model server: the same for us.
    return undefined
  }
}

/** Empty places stay, since the list of keys is matched by position. */
function listOf(text = '') {
  return text.split(';').map((item) => item.trim())
}
