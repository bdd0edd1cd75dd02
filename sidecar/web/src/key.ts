/** What an API key is, and how the pages say what it may. Pure. */
import { counted, day, NUMBER, relative } from './words.ts'

export type KeepAlive = 'comment' | 'chunk' | 'off'

export const LIMIT_NAMES = [
  'turnsPerMinute',
  'parallelTurns',
  'turnsPerDay',
  'turnsPerMonth',
  'tokensPerDay',
  'tokensPerMonth',
  'budgetPerMonth',
] as const
export type LimitName = (typeof LIMIT_NAMES)[number]
export type Limits = Partial<Record<LimitName, number>>

/** What may be used up in a day or a month. */
export interface Quota {
  of: 'turns' | 'tokens' | 'budget'
  per: 'day' | 'month'
  limit: number
  used: number
  resetsAtMs: number
}

export interface Key {
  id: string
  name: string
  /** A sidecar that is newer than these pages may have more than they know. */
  scopes: readonly string[]
  /** Null in both for all characters. */
  characterIds: readonly string[] | null
  tags: readonly string[] | null
  limits: Limits
  keepAlive: KeepAlive
  origins: readonly string[]
  createdBy: string
  createdAtMs: number
  expiresAtMs: number | null
  revokedAtMs: number | null
  lastUsedAtMs: number | null
  replacedBy: string | null
  quotas: readonly Quota[]
}

/** A key with its secret, which is told once. */
export interface FreshKey extends Key {
  secret: string
}

export interface ScopeWords {
  /** After "May ". */
  may: string
  title: string
  explains: string
  /** Lets its holder speak for others, so that only an owner hands it out; says so in a word. */
  warning?: string
}

export const SCOPE_WORDS = {
  chat: {
    may: 'ask characters',
    title: 'Ask characters',
    explains: 'Chats, answers to prompts, and the Responses API.',
  },
  models: {
    may: 'list them',
    title: 'List the characters',
    explains: 'Programs fill their list of models by it. It also tells what is used of its own limits.',
  },
  'base-models': {
    may: 'ask the models behind them',
    title: 'Ask the models behind the characters',
    explains: 'By their own names, without a persona.',
  },
  embeddings: {
    may: 'make embeddings',
    title: 'Make embeddings',
    explains: 'Vectors of texts, by which programs search.',
  },
  metrics: {
    may: 'read what Prometheus reads',
    title: 'Read measurements',
    explains: 'The page for Prometheus: counts and times, no names and no texts.',
  },
  events: {
    may: 'report deletions and ratings of Open WebUI',
    title: 'Report what happens in Open WebUI',
    explains:
      'For our function there, which gets its own key when it is installed. What it reports as deleted is erased here for good.',
  },
  'forward-user': {
    may: 'speak for the people of an Open WebUI',
    title: 'Speak for the people of an Open WebUI',
    explains:
      'It names the person behind each question by a signed token, so that limits and figures go by person. Whoever has this key and the secret of that token can be anybody.',
    warning: 'Speaks for people',
  },
  admin: {
    may: 'administer Troupe',
    title: 'Administer Troupe',
    explains:
      'All that an admin may do at these pages, and more by the command line: characters, keys, roles, records.',
    warning: 'Administers',
  },
} as const satisfies Record<string, ScopeWords>

export type Scope = keyof typeof SCOPE_WORDS

export const SCOPES = Object.keys(SCOPE_WORDS) as readonly Scope[]

const WORDS: Readonly<Record<string, ScopeWords | undefined>> = SCOPE_WORDS

/** In a word each; empty for a key that speaks for itself only. */
export const warningsOf = (scopes: readonly string[]): string[] =>
  scopes.flatMap((scope) => WORDS[scope]?.warning ?? [])

/** Who may make and change it is an owner. */
export const isForOwners = (scopes: readonly string[]): boolean => warningsOf(scopes).length > 0

/** Whether it matters to it which characters there are. */
export const isAboutCharacters = (scopes: readonly string[]): boolean =>
  scopes.includes('chat') || scopes.includes('models')

const LIST = new Intl.ListFormat('en')

/** "May ask characters and list them". */
export function mayWords(scopes: readonly string[]): string {
  const known = SCOPES.filter((scope) => scopes.includes(scope)).map((scope) => SCOPE_WORDS[scope].may)
  const unknown = scopes.filter((scope) => WORDS[scope] === undefined).map((scope) => `"${scope}"`)
  return `May ${LIST.format([...known, ...unknown])}`
}

/** More names than these are a list to read; the key itself has it. */
const NAMES = 3

/** Whom it may ask, as `nameOf` calls them. */
export function castWords(
  { characterIds, tags }: Pick<Key, 'characterIds' | 'tags'>,
  nameOf: (id: string) => string,
): string {
  if (characterIds === null && tags === null) return 'All characters'
  const names = (characterIds ?? []).map(nameOf)
  const shown = names.length > NAMES + 1 ? names.slice(0, NAMES) : names
  const rest = names.length - shown.length
  return LIST.format([
    ...shown,
    ...(rest > 0 ? [`${rest} more`] : []),
    ...(tags ?? []).map((tag, at) => `${names.length + at === 0 ? 'All' : 'all'} tagged “${tag}”`),
  ])
}

export type Standing = 'works' | 'replaced' | 'ended' | 'revoked'

/** One that was replaced works until its grace is over. */
export function standingOf({ revokedAtMs, expiresAtMs, replacedBy }: Key, nowMs: number): Standing {
  if (revokedAtMs !== null) return 'revoked'
  if (expiresAtMs !== null && expiresAtMs <= nowMs) return 'ended'
  return replacedBy === null ? 'works' : 'replaced'
}

export const isOver = (key: Key, nowMs: number): boolean =>
  key.revokedAtMs !== null || (key.expiresAtMs !== null && key.expiresAtMs <= nowMs)

const DAY_MS = 86_400_000
/** Time enough to make another one and to tell those who use it. */
const SOON_MS = 14 * DAY_MS

/** It works, and will soon not. */
export const isEndingSoon = (key: Key, nowMs: number): boolean =>
  !isOver(key, nowMs) && key.expiresAtMs !== null && key.expiresAtMs - nowMs < SOON_MS

export function endWords(key: Key, nowMs: number): string {
  if (key.revokedAtMs !== null) return `Revoked ${day(key.revokedAtMs)}`
  if (key.expiresAtMs === null) return 'Never ends'
  if (isOver(key, nowMs)) return `Ended ${day(key.expiresAtMs)}`
  return `Ends ${isEndingSoon(key, nowMs) ? relative(key.expiresAtMs, nowMs) : day(key.expiresAtMs)}`
}

const JUST_NOW_MS = 120_000
const LONG_AGO_MS = 14 * DAY_MS

export function useWords({ lastUsedAtMs }: Pick<Key, 'lastUsedAtMs'>, nowMs: number): string {
  if (lastUsedAtMs === null) return 'Never used'
  const agoMs = nowMs - lastUsedAtMs
  if (agoMs < JUST_NOW_MS) return 'Used just now'
  return `Used ${agoMs < LONG_AGO_MS ? relative(lastUsedAtMs, nowMs) : day(lastUsedAtMs)}`
}

const QUOTA_NAMES = { turns: 'Turns', tokens: 'Tokens', budget: 'Money' } as const

export const quotaTitle = ({ of, per }: Quota): string =>
  `${QUOTA_NAMES[of]} ${per === 'day' ? 'today' : 'this month'}`

const MONEY = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })

export function quotaAmount({ of, used, limit }: Quota): string {
  const format = of === 'budget' ? MONEY : NUMBER
  return `${format.format(used)} of ${format.format(limit)}`
}

/** Someone who counts on it should know before it is used up. */
const NEAR = 0.8

export function quotaLevel({ used, limit }: Quota): 'fine' | 'near' | 'full' {
  if (used >= limit) return 'full'
  return used >= limit * NEAR ? 'near' : 'fine'
}

/** The limits that nothing is used up of. */
export function rateWords({ turnsPerMinute, parallelTurns }: Limits): string[] {
  return [
    ...(turnsPerMinute === undefined ? [] : [`${counted(turnsPerMinute, 'turn')} in a minute`]),
    ...(parallelTurns === undefined ? [] : [`${NUMBER.format(parallelTurns)} at the same time`]),
  ]
}
