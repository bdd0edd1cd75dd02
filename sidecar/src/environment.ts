/** The one schema of the environment: names, types, defaults, and what each is for. */
import { availableParallelism } from 'node:os'
import { z } from 'zod'

import { readPrices, readWatts } from '#base/prices.ts'

/** At most `most` in any `windowMs`. */
export interface Rate {
  most: number
  windowMs: number
}

const optional = z
  .string()
  .trim()
  .transform((value) => (value === '' ? undefined : value))
  .optional()

/** 32 characters are the least that cannot be guessed when they come from a random source. */
const secret = optional.refine((value) => value === undefined || value.length >= 32, {
  error: 'is shorter than 32 characters; make one with: openssl rand -base64 33',
})

const port = (otherwise: number) =>
  z.coerce
    .number({ error: 'is not a number' })
    .int()
    .min(0, 'must be 0 to 65535')
    .max(65_535, 'must be 0 to 65535')
    .default(otherwise)

/** From 0 on. */
const count = z.coerce
  .number({ error: 'is not a number' })
  .int('must be a whole number')
  .min(0, 'may not be below 0')

const positive = count.min(1, 'must be at least 1')

/** A hundred years: before the beginning of our calendar nothing is older than anything. */
const MOST_DAYS = 36_500
const MOST_MONTHS = 1_200
const days = count.max(MOST_DAYS, `may be at most ${String(MOST_DAYS)}, a hundred years`)

/** A timer of Node cannot be set to more than 24 days, and then goes off at once. */
const MOST_SECONDS = 7 * 86_400
const TOO_MANY_SECONDS = `may be at most ${String(MOST_SECONDS)}, a week`
const seconds = positive.max(MOST_SECONDS, TOO_MANY_SECONDS)
const MOST_LOOKUP_MS = 60_000

/** `100/60`: at most 100 in any 60 seconds; 0 is without a limit. */
const rate = (otherwise: string) =>
  z
    .string()
    .regex(/^(0|[1-9]\d*\/[1-9]\d*)$/, 'is not a number and seconds, e.g. 100/60; 0 for no limit')
    .default(otherwise)
    .transform((text): Rate | undefined => {
      const [most = 0, seconds = 0] = text.split('/').map(Number)
      return most === 0 ? undefined : { most, windowMs: seconds * 1_000 }
    })

const httpUrl = z
  .string()
  .refine((value) => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol), {
    error: 'is not an http or https address, e.g. http://127.0.0.1:11434',
  })
  .transform((value) => value.replace(/\/+$/, ''))

const list = z.string().transform((value) => value.split(';').map((item) => item.trim()))
export const secretList = (value: string): string[] =>
  value
    .split(';')
    .map((part) => part.trim())
    .filter((part) => part !== '')
const urlList = list.transform((items) => items.filter((item) => item !== '')).pipe(z.array(httpUrl))

const HOST = /^(\[[\da-f:]+\]|[\w.-]+)(:\d{1,5})?$/i

const databaseUrl = optional.refine(
  (value) => value === undefined || /^(file:.|postgres(ql)?:\/\/)/.test(value),
  {
    error: 'must begin with file: (SQLite) or postgres://',
  },
)

export const isPostgres = (url: string | undefined) => /^postgres(ql)?:\/\//.test(url ?? '')

function isTimeZone(name: string): boolean {
  try {
    Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** More than any machine has use for: each takes 100 MB and its share of the database's connections. */
const MOST_WORKERS = 64

export const Environment = z.object({
  TROUPE_HOST: z.string().default('127.0.0.1').describe('Address the sidecar listens on'),
  TROUPE_PORT: port(8_787).describe('Port the sidecar listens on; 0 takes a free one'),
  TROUPE_PUBLIC_URL: optional
    .pipe(httpUrl.optional())
    .describe('Address under which Open WebUI reaches the sidecar; default: host and port'),
  TROUPE_DATA_DIR: z
    .string()
    .min(1)
    .default('./data')
    .describe('Folder of the SQLite files, pictures and originals'),
  TROUPE_CONNECTION_KEY: secret.describe(
    'Key that Open WebUI uses (scopes chat, models, embeddings, forward-user)',
  ),
  TROUPE_ADMIN_KEY: secret.describe('Key for scripts (scope admin)'),
  TROUPE_PSEUDONYM_SECRET: secret.describe(
    'Secret of the pseudonyms in the records; default: made once in the data folder',
  ),
  TROUPE_PSEUDONYM_DAYS: days
    .default(0)
    .describe(
      'New pseudonyms in the records after so many days; 30 days later nobody can tell whose the old ones were; 0 for never',
    ),
  TROUPE_FIELD_KEYS: optional
    .describe(
      'Secrets that encrypt single fields in the databases, separated by ";": the first writes, all read; default: made of TROUPE_PSEUDONYM_SECRET, else once in the data folder',
    )
    .refine((value) => value === undefined || secretList(value).every((part) => part.length >= 32), {
      error: 'has a secret that is shorter than 32 characters; make one with: openssl rand -base64 33',
    }),
  TROUPE_WEBHOOK_HOSTS: list
    .refine((hosts) => hosts.every((host) => host === '' || HOST.test(host)), {
      error: 'has an entry that is neither a host nor host:port, e.g. hooks.internal:8080',
    })
    .default([])
    .describe(
      'Hosts (host or host:port, separated by ";") that webhooks may reach although they are private or without TLS',
    ),
  TROUPE_CONTEXT_TOKENS: z.coerce
    .number({ error: 'is not a number' })
    .int()
    .min(512, 'must be at least 512')
    .optional()
    .describe(
      'Context window asked of the base models, in tokens; a model with a smaller one keeps its own; default: what `models profiles` lists, 8192 for every other model',
    ),
  TROUPE_PARALLEL_CALLS: positive
    .optional()
    .describe(
      'Calls that one model of one server gets at the same time, from all processes together; default: what the server says',
    ),
  TROUPE_CALLS_PER_SECOND: z.coerce
    .number({ error: 'is not a number' })
    .min(0, 'may not be below 0')
    .default(10)
    .describe(
      'Calls that one model of one server gets in a second, from all processes together; others wait; 0 for no ceiling',
    ),
  TROUPE_FIRST_TOKEN_SECONDS: seconds
    .default(300)
    .describe('How long a model may take to its first word; a cold one loads for minutes'),
  TROUPE_IDLE_SECONDS: seconds
    .default(45)
    .describe('How long a model may be silent in the middle of an answer'),
  TROUPE_ANSWER_SECONDS: seconds
    .default(1_800)
    .describe('How long a whole answer may take; Open WebUI itself gives up after 300 s'),
  TROUPE_DRAIN_SECONDS: count
    .max(MOST_SECONDS, TOO_MANY_SECONDS)
    .default(120)
    .describe(
      'How long running answers may go on after SIGTERM before they end with an error; a second signal ends them at once',
    ),
  TROUPE_KEEP_MODEL_SECONDS: z.coerce
    .number({ error: 'is not a number' })
    .int('must be a whole number')
    .min(-1, 'may not be below -1, which is for ever')
    .optional()
    .describe("How long an Ollama keeps a model without work, -1 for ever; default: the server's own time"),
  TROUPE_WARM_CHARACTERS: count
    .max(32, 'may be at most 32')
    .default(2)
    .describe(
      'Characters whose persona the model server reads ahead, at publishing and at the start; 0 for none',
    ),
  TROUPE_TIME_ZONE: optional
    .refine((value) => value === undefined || isTimeZone(value), {
      error: 'is not the name of a time zone, e.g. Europe/Berlin',
    })
    .describe("Zone of the date and time that characters tell, e.g. Europe/Berlin; default: the machine's"),
  TROUPE_LOG_LEVEL: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('How much is logged'),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional
    .pipe(httpUrl.optional())
    .describe(
      'Collector that traces are sent to (OTLP over HTTP), e.g. http://127.0.0.1:4318; default: none',
    ),
  OLLAMA_BASE_URL: urlList
    .default(['http://127.0.0.1:11434'])
    .describe('Ollama servers, separated by ";"; empty: none'),
  OPENAI_API_BASE_URLS: urlList
    .default([])
    .describe('Further /v1 model servers (vLLM, llama.cpp, LM Studio …), separated by ";"'),
  OPENAI_API_KEYS: list.default([]).describe('Their keys, in the same order'),
  DEFAULT_MODEL: optional.describe(
    'Base model of a character that names none; default: the first chat model',
  ),
  TASK_MODEL: optional.describe("Base model for titles and tags; default: the character's own"),
  EMBEDDING_MODEL: optional.describe(
    'Model that finds knowledge by its meaning, e.g. nomic-embed-text; default: none, words alone find it',
  ),
  CHROMA_URL: optional
    .pipe(httpUrl.optional())
    .describe('Chroma server that keeps the vectors; default: SQLite, or PostgreSQL with pgvector'),
  RERANK_URL: optional
    .pipe(httpUrl.optional())
    .describe('Server with a /rerank (vLLM, TEI, Infinity …) that orders what was found; default: none'),
  RERANK_MODEL: optional.describe('Its model'),
  RERANK_API_KEY: optional.describe('Its key'),
  TROUPE_LOOKUP_MS: positive
    .max(MOST_LOOKUP_MS, `may be at most ${String(MOST_LOOKUP_MS)}, a minute`)
    .default(150)
    .describe(
      'How long a turn waits for its documents, in milliseconds, a reranker (1,000 ms more) not counted; what is late is left out',
    ),
  DATABASE_URL: databaseUrl.describe(
    'Database of characters and keys: file:… or postgres://…; default: a file in the data folder',
  ),
  ANALYTICS_DATABASE_URL: databaseUrl.describe(
    'Database of call records; default: a file in the data folder',
  ),
  PLUGINS: list
    .transform((items) => items.filter((item) => item !== ''))
    .default([])
    .describe(
      'Modules of others that bring sources for characters, separated by ";"; they run with all rights',
    ),
  REDIS_URL: optional
    .refine((value) => value === undefined || (URL.canParse(value) && /^rediss?:\/\//.test(value)), {
      error: 'is not an address such as redis://127.0.0.1:6379',
    })
    .describe(
      'Redis for limits, sessions and caches that several sidecars share; without it they stay in the process',
    ),
  TROUPE_WORKERS: z
    .string()
    .refine((value) => value === 'auto' || (/^[1-9]\d?$/.test(value) && Number(value) <= MOST_WORKERS), {
      error: `is neither a whole number from 1 to ${String(MOST_WORKERS)} nor "auto", which is one for each core`,
    })
    .transform((value) => (value === 'auto' ? availableParallelism() : Number(value)))
    .default(1)
    .describe(
      'Processes behind the port, "auto" for one for each core; each counts as one of TROUPE_REPLICAS',
    ),
  TROUPE_REPLICAS: positive
    .default(1)
    .describe('Sidecars over the same databases, this one counted; more than one need PostgreSQL and Redis'),
  TROUPE_TURN_LIMIT: rate('100/60').describe(
    'Chat turns that one person may begin, as number/seconds: so many in any stretch of that length, over all sidecars; 0 for no limit',
  ),
  TROUPE_TASK_LIMIT: rate('400/60').describe('The same for titles, tags and other tasks of Open WebUI'),
  TROUPE_PARALLEL_TURNS: count
    .default(4)
    .describe('Answers that one person may have written at the same time; 0 for no limit'),
  TROUPE_TURNS_PER_DAY: positive.optional().describe('Chat turns of one person in a day (UTC)'),
  TROUPE_TURNS_PER_MONTH: positive.optional().describe('Chat turns of one person in a month'),
  TROUPE_TOKENS_PER_DAY: positive.optional().describe('Tokens of one person in a day, read and written'),
  TROUPE_TOKENS_PER_MONTH: positive.optional().describe('Tokens of one person in a month'),
  TROUPE_BUDGET_PER_MONTH: z.coerce
    .number({ error: 'is not a number' })
    .positive('must be above 0')
    .optional()
    .describe('What one person may cost in a month, in the currency of TROUPE_PRICES'),
  TROUPE_PRICES: z
    .string()
    .default('')
    .transform((text, context) => {
      const prices = readPrices(text)
      if (prices === undefined)
        context.addIssue('is not a list such as gpt-x=2.5/10;*=0/0 (model=input/output of a million tokens)')
      return prices ?? new Map()
    })
    .describe(
      'What a million tokens cost: model=input/output or model=input/output/cached, separated by ";", * for all others',
    ),
  TROUPE_POWER_PRICE: z.coerce
    .number({ error: 'is not a number' })
    .positive('must be above 0')
    .optional()
    .describe(
      'What a kilowatt-hour costs: the cost of models that TROUPE_PRICES does not name, by the time they worked',
    ),
  TROUPE_POWER_WATTS: z
    .string()
    .default('')
    .transform((text, context) => {
      const watts = readWatts(text)
      if (watts === undefined) context.addIssue('is not a list such as qwen3:8b=220;*=180 (model=watts)')
      return watts ?? new Map<string, number>()
    })
    .describe(
      'What the machine of a model draws while it works, in watts: model=watts, separated by ";", * for all others',
    ),
  TROUPE_TRUST_PLAIN_HEADERS: z
    .stringbool({ error: 'is neither true nor false' })
    .default(false)
    .describe(
      'For development on this machine: plain headers of Open WebUI name the user, without a signed token',
    ),
  NODE_OPTIONS: optional.describe("Node's own options; a debugger that others can reach is refused"),
  ANALYTICS_REPLICA_URL: optional
    .refine((value) => value === undefined || isPostgres(value), {
      error: 'must begin with postgres://; a file of SQLite has no standby',
    })
    .describe('A standby of that database (postgres://…) that figures are read from while it is up to date'),
  DATABASE_CONNECTIONS: positive
    .default(100)
    .describe('Connections to PostgreSQL that all replicas of the sidecar together may hold'),
  ANALYTICS_STRICT: z
    .stringbool({ error: 'must be true or false' })
    .default(true)
    .describe('Whether an answer that cannot be recorded is refused; false counts it and lets it pass'),
  ANALYTICS_OUTBOX_DIR: optional.describe(
    'Folder in which records wait while PostgreSQL is away; default: in the data folder',
  ),
  ANALYTICS_OUTBOX_MB: positive.default(1_024).describe('The most that they may take there'),
  ANALYTICS_RECORD_DAYS: days
    .default(90)
    .describe('Days after which records of calls and pseudonyms are deleted; 0 records nothing'),
  ANALYTICS_ROLLUP_MONTHS: positive
    .max(MOST_MONTHS, `may be at most ${String(MOST_MONTHS)}, a hundred years`)
    .default(25)
    .describe('Months after which the figures of hours, days and months are deleted'),
  ANALYTICS_PEOPLE: z
    .stringbool({ error: 'must be true or false' })
    .default(true)
    .describe('Whether records say who asked, as a pseudonym; false keeps no figure about people'),
  OPENWEBUI_URL: optional.pipe(httpUrl.optional()).describe('The Open WebUI beside us'),
  OPENWEBUI_API_KEY: optional.describe(
    'API key of an admin of that Open WebUI: lets characters be published there',
  ),
  OPENWEBUI_JWT_SECRET: optional
    .describe("Secret that signs Open WebUI's user token; two, separated by ';', while it is being changed")
    .refine((value) => value === undefined || value.split(';').every((part) => part.trim().length >= 32), {
      error: 'is shorter than 32 characters; make one with: openssl rand -base64 33',
    }),
})

export type Values = z.infer<typeof Environment>

/** Pools that one process opens: characters and the search in knowledge, records and figures, the standby of the figures. */
export function poolsOf(values: Values): number {
  const { DATABASE_URL: characters, ANALYTICS_DATABASE_URL: records, ANALYTICS_REPLICA_URL: standby } = values
  return (isPostgres(characters) ? 2 : 0) + (isPostgres(records) ? 2 : 0) + (isPostgres(standby) ? 1 : 0)
}

export const processesOf = (values: Values) => values.TROUPE_REPLICAS * values.TROUPE_WORKERS

export const shareOfPool = (values: Values) =>
  Math.floor(values.DATABASE_CONNECTIONS / processesOf(values) / Math.max(1, poolsOf(values)))
