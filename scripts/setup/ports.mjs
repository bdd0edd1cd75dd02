/** Ports are checked before anything is installed: a person should not wait two minutes to hear that one is taken. */
import net from 'node:net'

import { SetupError } from './failure.mjs'

const CONNECT_MS = 1_000

/**
 * The port in `env[variable]`, or the default. Throws SetupError when it is not a port.
 *
 * @param {NodeJS.ProcessEnv} env
 * @param {string} variable
 * @param {number} otherwise
 */
export function readPort(env, variable, otherwise) {
  const text = env[variable] || String(otherwise)
  const port = Number(text)
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port
  throw new SetupError(`${variable} is "${text}", which is not a port`, {
    remedy: `set ${variable} to a number from 1 to 65535, or leave it out for ${otherwise}`,
  })
}

/**
 * Throws SetupError when nothing can listen there.
 *
 * @param {{ host: string, port: number, variable: string, purpose: string }} wanted `variable` is the one that sets the port.
 */
export async function checkPort({ host, port, variable, purpose }) {
  const fault = (await tryListen(host, port)) ?? ((await isAnswered(host, port)) ? 'EADDRINUSE' : undefined)
  if (fault === undefined) return
  if (fault === 'EADDRINUSE') {
    throw new SetupError(`Port ${port} (${purpose}) is taken by another program`, {
      remedy: `stop that program, or set ${variable} to another port, e.g. ${variable}=${port + 1} ./scripts/up`,
    })
  }
  if (fault === 'EACCES') {
    throw new SetupError(`Port ${port} (${purpose}) needs administrator rights`, {
      remedy: `set ${variable} to a port above 1023`,
    })
  }
  throw new SetupError(`Nothing can listen on ${host} (${fault})`, {
    remedy: 'set TROUPE_HOST to an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them',
  })
}

/** A port that was free a moment ago. */
export async function freePort(host = '127.0.0.1') {
  const server = net.createServer()
  await new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, host, () => resolve(undefined))
  })
  const { port } = /** @type {net.AddressInfo} */ (server.address())
  await new Promise((resolve) => server.close(resolve))
  return port
}

/**
 * Where the machine itself reaches a server that listens on `host`.
 *
 * @param {string} host
 */
export function localHost(host) {
  if (host === '0.0.0.0' || host === '') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}

/**
 * A server on all addresses does not keep everybody from listening on one of them too, so asking is part of the check.
 *
 * @param {string} host
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isAnswered(host, port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: localHost(host).replace(/^\[|\]$/g, ''), port, timeout: CONNECT_MS })
    /** @param {boolean} answer */
    const done = (answer) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => done(true))
    socket.once('timeout', () => done(false))
    socket.once('error', () => done(false))
  })
}

/**
 * @param {string} host
 * @param {number} port
 * @returns {Promise<string | undefined>} the code of what went wrong
 */
function tryListen(host, port) {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', (error) =>
      resolve(/** @type {NodeJS.ErrnoException} */ (error).code ?? error.message),
    )
    server.listen(port, host, () => server.close(() => resolve(undefined)))
  })
}
