/** The secrets of one data folder: made once, kept in `secrets.json` that only its owner can read. */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { SetupError } from './failure.mjs'

/**
 * @typedef {object} Secrets
 * @property {string} connectionKey What Open WebUI shows the sidecar.
 * @property {string} adminKey What scripts show the sidecar.
 * @property {string} pseudonymSecret
 * @property {string} webuiSecretKey Signs the sessions of Open WebUI.
 * @property {string} jwtSecret Signs the user token that Open WebUI sends to the sidecar.
 * @property {string} adminEmail Of the Open WebUI admin.
 * @property {string} [adminPassword] Only when we made it; a chosen one stays with its owner.
 * @property {string} [openWebUiApiKey] The admin's `sk-…` key there; absent until it is made.
 */

/** 256 bits, as long as the keys of the signatures that they are used for. */
const SECRET_BYTES = 32
/** 144 bits: 24 characters, which can still be typed. */
const PASSWORD_BYTES = 18

/** What may also come from the environment, and is not stored then. */
const FROM_ENVIRONMENT = /** @type {const} */ ({
  connectionKey: 'TROUPE_CONNECTION_KEY',
  adminKey: 'TROUPE_ADMIN_KEY',
  pseudonymSecret: 'TROUPE_PSEUDONYM_SECRET',
  jwtSecret: 'OPENWEBUI_JWT_SECRET',
})

/** @param {string} dataDir */
export function secretsFile(dataDir) {
  return path.join(dataDir, 'secrets.json')
}

/**
 * The secrets of the data folder; those that are missing are made and stored. `WEBUI_ADMIN_EMAIL` and
 * `WEBUI_ADMIN_PASSWORD` count at the first time only, as for Open WebUI itself.
 *
 * @param {string} dataDir
 * @param {NodeJS.ProcessEnv} env
 * @returns {Secrets}
 */
export function openSecrets(dataDir, env) {
  const stored = readSecrets(dataDir)
  const admin = stored.adminEmail === undefined ? makeAdmin(env) : { adminEmail: stored.adminEmail }
  const secrets = { ...makeSecrets(), ...ownSecret(dataDir), ...stored, ...admin }
  storeSecrets(dataDir, secrets)
  const chosen = Object.entries(FROM_ENVIRONMENT).filter(([, variable]) => env[variable])
  return { ...secrets, ...Object.fromEntries(chosen.map(([name, variable]) => [name, env[variable]])) }
}

/**
 * Stores the admin's key for the next starts.
 *
 * @param {string} dataDir
 * @param {string} openWebUiApiKey
 */
export function rememberApiKey(dataDir, openWebUiApiKey) {
  storeSecrets(dataDir, { ...readSecrets(dataDir), openWebUiApiKey })
}

function makeSecrets() {
  const secret = () => randomBytes(SECRET_BYTES).toString('base64url')
  return {
    connectionKey: secret(),
    adminKey: secret(),
    pseudonymSecret: secret(),
    webuiSecretKey: secret(),
    jwtSecret: secret(),
  }
}

/**
 * Of a house that ran without us: a sidecar that makes its own secret keeps it in a file, and opens these records under no other.
 *
 * @param {string} dataDir
 */
function ownSecret(dataDir) {
  const pseudonymSecret = textIn(path.join(dataDir, 'pseudonym-secret'))
  return pseudonymSecret === '' ? {} : { pseudonymSecret }
}

/**
 * The same for the key of its fields: under a given secret it would be made of that. Both open, the older one seals, so that the
 * sidecar can be run without us again. Nothing where there is no such file.
 *
 * @param {string} dataDir
 * @param {Secrets} secrets
 * @returns {NodeJS.ProcessEnv}
 */
export function ownFieldKeys(dataDir, { pseudonymSecret }) {
  const key = textIn(path.join(dataDir, 'field-key'))
  return key === '' ? {} : { TROUPE_FIELD_KEYS: `${key};${pseudonymSecret}` }
}

/** @param {string} file */
function textIn(file) {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : ''
}

/** @param {NodeJS.ProcessEnv} env */
function makeAdmin(env) {
  const adminEmail = env['WEBUI_ADMIN_EMAIL'] || 'admin@localhost'
  // Open WebUI takes anything here, and its login form then refuses it.
  if (!/^[^\s@]+@[^\s@]+$/.test(adminEmail)) {
    throw new SetupError(`WEBUI_ADMIN_EMAIL is "${adminEmail}", with which nobody could log in`, {
      remedy: 'set it to an address such as admin@example.org, or leave it out for admin@localhost',
    })
  }
  if (env['WEBUI_ADMIN_PASSWORD']) return { adminEmail }
  return { adminEmail, adminPassword: randomBytes(PASSWORD_BYTES).toString('base64url') }
}

/**
 * Replaces the file as a whole, so that a crash leaves the old one or the new one.
 *
 * @param {string} dataDir
 * @param {Partial<Secrets>} secrets
 */
function storeSecrets(dataDir, secrets) {
  const file = secretsFile(dataDir)
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    writeFileSync(`${file}.new`, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } catch (cause) {
    throw new SetupError(`Nothing can be written to the data folder ${dataDir}`, {
      remedy: 'make it writable, or set TROUPE_DATA_DIR to another folder',
      cause,
    })
  }
}

/**
 * @param {string} dataDir
 * @returns {Partial<Secrets>}
 */
function readSecrets(dataDir) {
  const file = secretsFile(dataDir)
  if (!existsSync(file)) return {}
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw new SetupError(`${file} cannot be read: ${/** @type {Error} */ (cause).message}`, {
      remedy: 'restore it from a backup; without it, begin anew with another TROUPE_DATA_DIR',
      cause,
    })
  }
}
