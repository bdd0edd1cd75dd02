/** What the sidecar is told by the environment. Every fault is reported at once, with the variable's name and a remedy. */
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import type { Power, Prices } from '#base/prices.ts'

import { dangers } from './dangers.ts'
import { Environment, processesOf, secretList, shareOfPool, type Rate, type Values } from './environment.ts'

export interface Config {
  host: string
  port: number
  /** Where Open WebUI and its functions reach us. */
  publicUrl: string
  dataDir: string
  connectionKey: string | undefined
  adminKey: string | undefined
  pseudonymSecret: string | undefined
  /** The first seals fields in the databases, all open them; undefined keeps a secret in the data folder. */
  fieldKeys: [string, ...string[]] | undefined
  /** Age at which pseudonyms are replaced; undefined for never. */
  pseudonymDays: number | undefined
  /** Hosts that webhooks may reach although they are private. */
  webhookHosts: string[]
  ollamaUrls: string[]
  openAiServers: { url: string; key: string | undefined }[]
  defaultModel: string | undefined
  taskModel: string | undefined
  embeddingModel: string | undefined
  chromaUrl: string | undefined
  rerank: { url: string; model: string; apiKey: string | undefined } | undefined
  /** How long a turn waits for documents. */
  lookUpMs: number
  contextTokens: number | undefined
  /** Calls at the same time for each model of each server; undefined takes what the server says. */
  parallelCalls: number | undefined
  /** Calls that may begin in a second, for each model of each server; undefined for no ceiling. */
  callsPerSecond: number | undefined
  callLimits: { headersTimeoutMs: number; idleTimeoutMs: number; totalTimeoutMs: number }
  /** IANA name. */
  timeZone: string
  databaseUrl: string
  analyticsDatabaseUrl: string
  /** Files or packages that bring sources and loaders. */
  plugins: string[]
  redisUrl: string | undefined
  /** Processes behind the port of this sidecar. */
  workers: number
  /** Processes over the same databases, the workers of all sidecars counted; this is one of them. */
  replicas: number
  openWebUi: { url: string; apiKey: string | undefined } | undefined
  /** Secrets that may have signed Open WebUI's user token; several while one is being changed. */
  jwtSecrets: string[]
  /** Development on this machine: plain headers name the user. */
  trustsPlainHeaders: boolean
  /** What everybody may ask; undefined is without a limit. */
  limits: {
    turns: Rate | undefined
    tasks: Rate | undefined
    parallelTurns: number | undefined
    turnsPerDay: number | undefined
    turnsPerMonth: number | undefined
    tokensPerDay: number | undefined
    tokensPerMonth: number | undefined
    budgetPerMonth: number | undefined
  }
  prices: Prices
  power: Power | undefined
  /** Running answers get this long to finish when the process has to go. */
  drainMs: number
  /** A standby of the database of records that figures are read from; undefined for none. */
  analyticsReplicaUrl: string | undefined
  /** Connections to PostgreSQL in each pool of this process, so that all pools of all replicas stay within what they may hold. */
  connectionsInPool: number
  /** Answers without a record are failures. */
  recordsAreStrict: boolean
  outbox: { dir: string; mostBytes: number }
  /** 0 days collect nothing at all. */
  retention: { recordDays: number; months: number }
  /** Whether records say who asked, as a pseudonym. */
  countsPeople: boolean
  /** How long an Ollama keeps a model without work; undefined leaves it to the server. */
  keepModelSeconds: number | undefined
  /** Characters whose persona the model server reads in advance. */
  warmCharacters: number
  /** Where traces are sent (OTLP over HTTP); undefined sends none. */
  traceEndpoint: string | undefined
  logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent'
}

/** Thrown with every fault of the environment in one message. */
export class ConfigError extends AppError {
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(
      'invalid',
      `The configuration has ${String(faults.length)} fault(s):\n${faults.map((fault) => `  - ${fault}`).join('\n')}`,
    )
    this.name = 'ConfigError'
    this.faults = faults
  }
}

/** One pool of a process needs no more. */
const MOST_IN_POOL = 10

/** Reads and checks the environment. Throws ConfigError with all faults. */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const parsed = Environment.safeParse(withoutEmpty(env))
  if (!parsed.success) {
    throw new ConfigError(parsed.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message}`))
  }
  const values = parsed.data
  const faults = dangers(values)
  if (faults.length > 0) throw new ConfigError(faults)
  const dataDir = path.resolve(values.TROUPE_DATA_DIR)
  return {
    host: values.TROUPE_HOST,
    port: values.TROUPE_PORT,
    publicUrl: values.TROUPE_PUBLIC_URL ?? `http://${values.TROUPE_HOST}:${String(values.TROUPE_PORT)}`,
    dataDir,
    connectionKey: values.TROUPE_CONNECTION_KEY,
    adminKey: values.TROUPE_ADMIN_KEY,
    pseudonymSecret: values.TROUPE_PSEUDONYM_SECRET,
    fieldKeys: fieldKeys(values),
    pseudonymDays: values.TROUPE_PSEUDONYM_DAYS || undefined,
    webhookHosts: values.TROUPE_WEBHOOK_HOSTS.filter((host) => host !== ''),
    ollamaUrls: values.OLLAMA_BASE_URL,
    openAiServers: values.OPENAI_API_BASE_URLS.map((url, index) => ({
      url,
      key: values.OPENAI_API_KEYS[index] || undefined,
    })),
    defaultModel: values.DEFAULT_MODEL,
    taskModel: values.TASK_MODEL,
    embeddingModel: values.EMBEDDING_MODEL,
    chromaUrl: values.CHROMA_URL,
    rerank: rerank(values),
    lookUpMs: values.TROUPE_LOOKUP_MS,
    contextTokens: values.TROUPE_CONTEXT_TOKENS,
    parallelCalls: values.TROUPE_PARALLEL_CALLS,
    callsPerSecond: values.TROUPE_CALLS_PER_SECOND || undefined,
    callLimits: {
      headersTimeoutMs: values.TROUPE_FIRST_TOKEN_SECONDS * 1_000,
      idleTimeoutMs: values.TROUPE_IDLE_SECONDS * 1_000,
      totalTimeoutMs: values.TROUPE_ANSWER_SECONDS * 1_000,
    },
    timeZone: values.TROUPE_TIME_ZONE ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    databaseUrl: values.DATABASE_URL ?? `file:${path.join(dataDir, 'troupe.sqlite')}`,
    analyticsDatabaseUrl: values.ANALYTICS_DATABASE_URL ?? `file:${path.join(dataDir, 'analytics.sqlite')}`,
    plugins: values.PLUGINS,
    redisUrl: values.REDIS_URL,
    workers: values.TROUPE_WORKERS,
    replicas: processesOf(values),
    openWebUi:
      values.OPENWEBUI_URL === undefined
        ? undefined
        : { url: values.OPENWEBUI_URL, apiKey: values.OPENWEBUI_API_KEY },
    jwtSecrets: (values.OPENWEBUI_JWT_SECRET ?? '')
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
    trustsPlainHeaders: values.TROUPE_TRUST_PLAIN_HEADERS,
    limits: {
      turns: values.TROUPE_TURN_LIMIT,
      tasks: values.TROUPE_TASK_LIMIT,
      parallelTurns: values.TROUPE_PARALLEL_TURNS || undefined,
      turnsPerDay: values.TROUPE_TURNS_PER_DAY,
      turnsPerMonth: values.TROUPE_TURNS_PER_MONTH,
      tokensPerDay: values.TROUPE_TOKENS_PER_DAY,
      tokensPerMonth: values.TROUPE_TOKENS_PER_MONTH,
      budgetPerMonth: values.TROUPE_BUDGET_PER_MONTH,
    },
    prices: values.TROUPE_PRICES,
    power:
      values.TROUPE_POWER_PRICE === undefined
        ? undefined
        : { price: values.TROUPE_POWER_PRICE, watts: values.TROUPE_POWER_WATTS },
    drainMs: values.TROUPE_DRAIN_SECONDS * 1_000,
    analyticsReplicaUrl: values.ANALYTICS_REPLICA_URL,
    connectionsInPool: Math.min(MOST_IN_POOL, shareOfPool(values)),
    recordsAreStrict: values.ANALYTICS_STRICT,
    outbox: {
      dir: values.ANALYTICS_OUTBOX_DIR ?? path.join(dataDir, 'outbox'),
      mostBytes: values.ANALYTICS_OUTBOX_MB * 1_048_576,
    },
    retention: { recordDays: values.ANALYTICS_RECORD_DAYS, months: values.ANALYTICS_ROLLUP_MONTHS },
    countsPeople: values.ANALYTICS_PEOPLE,
    keepModelSeconds: values.TROUPE_KEEP_MODEL_SECONDS,
    warmCharacters: values.TROUPE_WARM_CHARACTERS,
    traceEndpoint: values.OTEL_EXPORTER_OTLP_ENDPOINT,
    logLevel: values.TROUPE_LOG_LEVEL,
  }
}

/** What a compose file hands on without a value. Of model servers none may be wanted. */
const withoutEmpty = (env: Readonly<Record<string, string | undefined>>) =>
  Object.fromEntries(
    Object.entries(env).filter(([name, value]) => value?.trim() !== '' || name === 'OLLAMA_BASE_URL'),
  )

function rerank({ RERANK_URL: url, RERANK_MODEL: model, RERANK_API_KEY: apiKey }: Values): Config['rerank'] {
  return url === undefined || model === undefined ? undefined : { url, model, apiKey }
}

function fieldKeys({ TROUPE_FIELD_KEYS: keys }: Values): Config['fieldKeys'] {
  const [first, ...older] = secretList(keys ?? '')
  return first === undefined ? undefined : [first, ...older]
}
