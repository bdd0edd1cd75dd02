/**
 * The only way to an address that somebody entered at run time, rather than the operator by configuration. Such an address
 * must not become a way into the house: no private or special addresses, whatever they are written as or resolve to.
 */
import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns'
import { isIP } from 'node:net'

import ipaddr from 'ipaddr.js'
import { Agent, request } from 'undici'

import { AppError } from '#base/errors.ts'

/** As `lookup` of node:dns with `all`. */
export type Resolve = (
  host: string,
  options: LookupOptions & { all: true },
  answer: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

export interface GuardOptions {
  /** `host` or `host:port` that the operator vouches for: these may be private, and reached by http. */
  trusted: readonly string[]
  /** Others are for tests. */
  resolve?: Resolve
  isPublic?: (address: string) => boolean
  timeoutMs?: number
}

export interface Guard {
  /** The address in its normal form. Throws AppError `invalid` with the reason; a name is looked up only when it is used. */
  check(address: string): URL
  /** Sends and reads the status. Throws AppError `invalid` as `check`, `upstream` and `upstream_timeout` for the other side. */
  post(address: string, headers: Readonly<Record<string, string>>, body: string): Promise<{ status: number }>
  close(): Promise<void>
}

const TIMEOUT_MS = 10_000
const CONNECT_MS = 3_000

/** Of the answer only the status counts; what follows is read so far and thrown away. */
const MOST_ANSWER_BYTES = 64 * 1024

/** https, 443. Everything else has to be vouched for. */
export function createGuard({
  trusted,
  resolve = (host, options, answer) => systemLookup(host, options, answer),
  isPublic = isPublicAddress,
  timeoutMs = TIMEOUT_MS,
}: GuardOptions): Guard {
  const vouched = new Set(trusted.map((host) => host.toLowerCase()))
  const isVouched = ({ hostname, port, protocol }: URL) =>
    vouched.has(hostname) || vouched.has(`${hostname}:${port || (protocol === 'https:' ? '443' : '80')}`)

  function check(address: string): URL {
    const url = URL.canParse(address) ? new URL(address) : undefined
    if (url === undefined) throw refused('it is no URL')
    if (url.username !== '' || url.password !== '') throw refused('it carries a name or a password')
    if (isVouched(url) && /^https?:$/.test(url.protocol)) return url
    if (url.protocol !== 'https:') throw refused('it does not begin with https://')
    if (url.port !== '') throw refused('its port is not 443')
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
    // A literal is never looked up, so this is the only place that sees it.
    if (isIP(host) !== 0 && !isPublic(host)) throw refused('it leads to a private or special address')
    return url
  }

  /** Every address that a name has must be public, and the connection goes to one of these very addresses. */
  const pinned: Resolve = (host, options, answer) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      const isSafe =
        error === null && addresses.length > 0 && addresses.every(({ address }) => isPublic(address))
      if (error !== null || isSafe) answer(error, addresses)
      else answer(Object.assign(new Error('refused'), { code: REFUSED }), [])
    })
  }
  const toPublic = openAgent(pinned)
  const toVouched = openAgent((host, options, answer) => resolve(host, { ...options, all: true }, answer))

  return {
    check,
    async post(address, headers, body) {
      const url = check(address)
      const signal = AbortSignal.timeout(timeoutMs)
      try {
        // undici follows no redirect unless it is told to.
        const answer = await request(url, {
          dispatcher: isVouched(url) ? toVouched : toPublic,
          method: 'POST',
          headers,
          body,
          signal,
        })
        await answer.body.dump({ limit: MOST_ANSWER_BYTES, signal }).catch(() => undefined)
        return { status: answer.statusCode }
      } catch (cause) {
        if (signal.aborted)
          throw new AppError('upstream_timeout', `No answer within ${String(timeoutMs / 1_000)} s`, { cause })
        if (codeOf(cause) === REFUSED) throw refused('its name leads to a private or special address', cause)
        throw new AppError('upstream', `No connection (${codeOf(cause) ?? 'unknown reason'})`, { cause })
      }
    },
    async close() {
      await Promise.all([toPublic.destroy(), toVouched.destroy()])
    },
  }
}

const REFUSED = 'ERR_ADDRESS_REFUSED'

/** Node asks for one address or for all of them. */
function openAgent(resolve: Resolve): Agent {
  const lookup = (
    host: string,
    options: LookupOptions,
    answer: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
  ) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      if (options.all === true) answer(error, addresses)
      else answer(error, addresses[0]?.address ?? '', addresses[0]?.family)
    })
  }
  return new Agent({ connect: { timeout: CONNECT_MS, lookup }, pipelining: 0 })
}

/** All of IPv6 that is given to anybody (RFC 4291); what lies outside is special, whether a list names it or not. */
const GLOBAL_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3')

/** Unicast that the registries have given to somebody: all that remains when the special ranges are taken away. */
export function isPublicAddress(address: string): boolean {
  if (!ipaddr.isValid(address)) return false
  const parsed = ipaddr.process(address)
  if (parsed instanceof ipaddr.IPv6 && !parsed.match(GLOBAL_IPV6)) return false
  return parsed.range() === 'unicast'
}

const refused = (why: string, cause?: unknown) =>
  new AppError(
    'invalid',
    `Troupe does not send to this address: ${why}. Use https:// on port 443 of a public host, or let the operator name the host in TROUPE_WEBHOOK_HOSTS`,
    { cause, param: 'url' },
  )

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  if ('code' in error && typeof error.code === 'string') return error.code
  return codeOf(error.cause)
}
