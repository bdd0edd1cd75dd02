/** Settings that are well-formed and would still hurt somebody, each with what to do. */
import { isIP } from 'node:net'

import { isPostgres, poolsOf, processesOf, shareOfPool, type Values } from './environment.ts'

const isLoopback = (host: string) =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

/** A sentence for each; none where the sidecar may start. */
export function dangers(values: Values): string[] {
  const faults = [...loneliness(values), ...crowding(values), ...examples(values)]
  const open = !isLoopback(values.TROUPE_HOST)
  if (open) faults.push(...openness(values))
  if (open && values.TROUPE_CONNECTION_KEY !== undefined && values.OPENWEBUI_JWT_SECRET === undefined) {
    faults.push(
      `TROUPE_HOST ${values.TROUPE_HOST} can be reached from other machines, but nothing proves which user asks: ` +
        "set OPENWEBUI_JWT_SECRET (and Open WebUI's FORWARD_USER_INFO_HEADER_JWT_SECRET) to the same secret",
    )
  }
  if (values.TROUPE_ADMIN_KEY !== undefined && values.TROUPE_ADMIN_KEY === values.TROUPE_CONNECTION_KEY) {
    faults.push(
      'TROUPE_ADMIN_KEY equals TROUPE_CONNECTION_KEY: Open WebUI would hold the admin key; make a second one',
    )
  }
  if ((values.RERANK_URL === undefined) !== (values.RERANK_MODEL === undefined)) {
    faults.push('RERANK_URL and RERANK_MODEL belong together; set both or neither')
  }
  if ((values.TROUPE_POWER_PRICE === undefined) !== (values.TROUPE_POWER_WATTS.size === 0)) {
    faults.push('TROUPE_POWER_PRICE and TROUPE_POWER_WATTS belong together; set both or neither')
  }
  if (
    values.TROUPE_BUDGET_PER_MONTH !== undefined &&
    values.TROUPE_PRICES.size === 0 &&
    values.TROUPE_POWER_PRICE === undefined
  ) {
    faults.push(
      'TROUPE_BUDGET_PER_MONTH is never reached while nothing has a price: set TROUPE_PRICES, or TROUPE_POWER_PRICE and TROUPE_POWER_WATTS',
    )
  }
  if (values.OPENWEBUI_API_KEY !== undefined && values.OPENWEBUI_URL === undefined) {
    faults.push('OPENWEBUI_API_KEY is set without OPENWEBUI_URL; set the address of that Open WebUI')
  }
  if (
    values.OPENAI_API_KEYS.length > values.OPENAI_API_BASE_URLS.length &&
    values.OPENAI_API_KEYS.some((key) => key !== '')
  ) {
    faults.push(
      'OPENAI_API_KEYS has more entries than OPENAI_API_BASE_URLS; leave one key (or nothing) for each address',
    )
  }
  return faults
}

/** A pool without a connection would wait for ever; one more than its share is missing elsewhere. */
function crowding(values: Values): string[] {
  if (shareOfPool(values) >= 1) return []
  const [processes, pools] = [processesOf(values), poolsOf(values)]
  return [
    `DATABASE_CONNECTIONS is ${String(values.DATABASE_CONNECTIONS)}, and ${String(processes)} processes (TROUPE_REPLICAS × TROUPE_WORKERS) need one for each of ${String(pools)} pools: ` +
      `set it to ${String(processes * pools)} or more, and max_connections of PostgreSQL above it`,
  ]
}

const SAME_SECRET =
  'TROUPE_PSEUDONYM_SECRET (the same in all; that of a house which made its own is the file pseudonym-secret in its data folder)'

/** What only works in one process. */
function loneliness(values: Values): string[] {
  const processes = processesOf(values)
  if (processes === 1) return []
  const missing = [
    ...(isPostgres(values.DATABASE_URL) ? [] : ['DATABASE_URL (postgres://…)']),
    ...(isPostgres(values.ANALYTICS_DATABASE_URL) ? [] : ['ANALYTICS_DATABASE_URL (postgres://…)']),
    ...(values.REDIS_URL === undefined ? ['REDIS_URL (redis://…)'] : []),
    ...(values.TROUPE_PSEUDONYM_SECRET === undefined ? [SAME_SECRET] : []),
  ]
  if (missing.length === 0) return []
  return [
    `TROUPE_REPLICAS × TROUPE_WORKERS is ${String(processes)}, but SQLite, memory and made-up secrets belong to one process: set ${missing.join(', ')}`,
  ]
}

/** What is fine on this machine and not where others can reach it. */
function openness(values: Values): string[] {
  const faults: string[] = []
  const where = `TROUPE_HOST ${values.TROUPE_HOST} can be reached from other machines`
  if (values.TROUPE_TRUST_PLAIN_HEADERS)
    faults.push(`${where}, where anybody could name any user: unset TROUPE_TRUST_PLAIN_HEADERS`)
  if (values.NODE_OPTIONS?.includes('--inspect') === true)
    faults.push(`${where}; a debugger there opens everything: take --inspect out of NODE_OPTIONS`)
  if (values.TROUPE_ADMIN_KEY === undefined && values.OPENWEBUI_URL === undefined)
    faults.push(`${where}, but nobody could administer it: set TROUPE_ADMIN_KEY, or OPENWEBUI_URL`)
  return faults
}

const SECRETS = [
  'TROUPE_CONNECTION_KEY',
  'TROUPE_ADMIN_KEY',
  'TROUPE_PSEUDONYM_SECRET',
  'TROUPE_FIELD_KEYS',
  'OPENWEBUI_JWT_SECRET',
] as const

/** Words of templates and documents, and texts without any chance in them. */
const EXAMPLE =
  /change[-_ ]?me|example|placeholder|your[-_ ]|insert[-_ ]|^(.{1,4})\1+$|^0123456789|^abcdefgh/i

function examples(values: Values): string[] {
  return SECRETS.filter((name) =>
    (values[name] ?? '').split(';').some((part) => EXAMPLE.test(part.trim())),
  ).map((name) => `${name} is an example that others know as well; make one with: openssl rand -base64 33`)
}
