/** A key while it is being written: as it was typed, what is wrong with it, and what is sent. Pure. */
import {
  isAboutCharacters,
  LIMIT_NAMES,
  type KeepAlive,
  type Key,
  type LimitName,
  type Limits,
  type Scope,
} from './key.ts'
import { NUMBER } from './words.ts'

export interface Purpose {
  id: string
  title: string
  explains: string
  scopes: readonly Scope[]
  /** What such a key might be called. */
  example: string
}

export const PURPOSES: readonly [Purpose, ...Purpose[]] = [
  {
    id: 'program',
    title: 'A script or a program',
    explains: 'Home Assistant, a bot, an app, something that you write: all that speaks to OpenAI.',
    scopes: ['chat', 'models'],
    example: 'Home Assistant',
  },
  {
    id: 'open-webui',
    title: 'Another Open WebUI',
    explains: 'Its people find the characters in their list of models, and share the limits of the key.',
    scopes: ['chat', 'models', 'embeddings'],
    example: 'Open WebUI of the reading club',
  },
  {
    id: 'embeddings',
    title: 'Embeddings only',
    explains: 'For a search of its own. It can ask nobody.',
    scopes: ['embeddings'],
    example: 'Search of the wiki',
  },
  {
    id: 'metrics',
    title: 'Prometheus',
    explains: 'Reads counts and times. It sees no characters, names or texts.',
    scopes: ['metrics'],
    example: 'Prometheus',
  },
  {
    id: 'admin',
    title: 'Administration',
    explains: 'For scripts and the command line. Its holder is an admin here.',
    scopes: ['admin'],
    example: 'Nightly import',
  },
  {
    id: 'own',
    title: 'Something else',
    explains: 'You choose what it may.',
    scopes: ['chat', 'models'],
    example: 'What it is for',
  },
]

export interface Draft {
  purpose: string
  name: string
  scopes: readonly string[]
  isForAll: boolean
  characterIds: readonly string[]
  tags: readonly string[]
  /** Empty for none of its own. */
  limits: Record<LimitName, string>
  end: 'as it is' | 'days' | 'never'
  days: string
  /** One on each line. */
  origins: string
  keepAlive: KeepAlive
}

/** The names that the API has for what can be wrong. */
export type Field = 'name' | 'scopes' | 'characterIds' | 'expiresInDays' | 'origins' | `limits.${LimitName}`
export type Faults = Partial<Record<Field, string>>

const FIELDS: readonly Field[] = [
  'name',
  'scopes',
  'characterIds',
  ...LIMIT_NAMES.map((name) => `limits.${name}` as const),
  'expiresInDays',
  'origins',
]

export interface KeyWish {
  name: string
  scopes: readonly string[]
  expiresInDays: number | null
  characterIds?: readonly string[]
  tags?: readonly string[]
  limits?: Limits
  keepAlive?: KeepAlive
  origins?: readonly string[]
}

/** What is left out stays; null takes a bound away. */
export interface KeyChange {
  name?: string
  scopes?: readonly string[]
  expiresInDays?: number | null
  characterIds?: readonly string[] | null
  tags?: readonly string[] | null
  limits?: Limits | null
  keepAlive?: KeepAlive
  origins?: readonly string[] | null
}

/** So that a forgotten key ends by itself; the API proposes the same. */
export const DEFAULT_DAYS = 90
const MOST_DAYS = 3_650
const MOST_NAME = 100
const MOST_ORIGINS = 20

const NO_LIMITS = Object.fromEntries(LIMIT_NAMES.map((name) => [name, ''])) as Record<LimitName, string>

export function newDraft(): Draft {
  const [purpose] = PURPOSES
  return {
    purpose: purpose.id,
    name: '',
    scopes: purpose.scopes,
    isForAll: true,
    characterIds: [],
    tags: [],
    limits: { ...NO_LIMITS },
    end: 'days',
    days: String(DEFAULT_DAYS),
    origins: '',
    keepAlive: 'comment',
  }
}

export function draftOf(key: Key): Draft {
  const limits = LIMIT_NAMES.map((name) => [name, key.limits[name]?.toString() ?? ''])
  return {
    purpose: 'own',
    name: key.name,
    scopes: key.scopes,
    isForAll: key.characterIds === null && key.tags === null,
    characterIds: key.characterIds ?? [],
    tags: key.tags ?? [],
    limits: Object.fromEntries(limits) as Record<LimitName, string>,
    end: 'as it is',
    days: String(DEFAULT_DAYS),
    origins: key.origins.join('\n'),
    keepAlive: key.keepAlive,
  }
}

export function faultsOf(draft: Draft): Faults {
  const faults: Faults = {}
  const name = draft.name.trim()
  if (name === '') faults.name = 'Give it a name by which you will know it again.'
  if (name.length > MOST_NAME) faults.name = `Shorten it to ${MOST_NAME} characters.`
  if (draft.scopes.length === 0) faults.scopes = 'Choose at least one thing that it may do.'
  if (isBound(draft) && draft.characterIds.length + draft.tags.length === 0)
    faults.characterIds = 'Choose a character or a tag, or let it ask all of them.'
  for (const limit of LIMIT_NAMES) {
    const fault = limitFault(limit, draft.limits[limit])
    if (fault !== undefined) faults[`limits.${limit}`] = fault
  }
  const days = readCount(draft.days)
  if (draft.end === 'days' && (days === undefined || days > MOST_DAYS))
    faults.expiresInDays = `Write a number of days from 1 to ${NUMBER.format(MOST_DAYS)}.`
  const fault = originsFault(originsIn(draft))
  if (fault !== undefined) faults.origins = fault
  return faults
}

/** The field that the path of a refusal leads to: "origins.0" is about the origins. */
export const fieldOf = (param: string): Field | undefined =>
  FIELDS.find((field) => param === field || param.startsWith(`${field}.`))

/** A refusal names the field before its sentence; at the field itself only the sentence is wanted. */
export const sentenceOf = (message: string): string => {
  const sentence = message.replace(/^"[\w.-]+": /, '')
  return sentence.charAt(0).toUpperCase() + sentence.slice(1)
}

/** Of a draft without faults. */
export function wishOf(draft: Draft): KeyWish {
  const { characterIds, tags } = castIn(draft)
  const [limits, origins] = [limitsIn(draft), originsIn(draft)]
  return {
    name: draft.name.trim(),
    scopes: draft.scopes,
    expiresInDays: draft.end === 'never' ? null : (readCount(draft.days) ?? DEFAULT_DAYS),
    ...(characterIds && { characterIds }),
    ...(tags && { tags }),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...(draft.keepAlive !== 'comment' && { keepAlive: draft.keepAlive }),
    ...(origins.length > 0 && { origins }),
  }
}

/** What of the key the draft, which has no faults, changes; empty where nothing. */
export function changeOf(key: Key, draft: Draft): KeyChange {
  // A binding that cannot be seen is not touched: it holds again as soon as the key may ask characters.
  const { characterIds, tags } = isAboutCharacters(draft.scopes) ? castIn(draft) : key
  const [limits, origins] = [limitsIn(draft), originsIn(draft)]
  const name = draft.name.trim()
  return {
    ...(name !== key.name && { name }),
    ...(!isSameSet(draft.scopes, key.scopes) && { scopes: draft.scopes }),
    ...(!isSameSet(characterIds, key.characterIds) && { characterIds }),
    ...(!isSameSet(tags, key.tags) && { tags }),
    ...(LIMIT_NAMES.some((limit) => limits[limit] !== key.limits[limit]) && {
      limits: Object.keys(limits).length === 0 ? null : limits,
    }),
    ...(draft.end === 'never' && key.expiresAtMs !== null && { expiresInDays: null }),
    ...(draft.end === 'days' && { expiresInDays: readCount(draft.days) ?? DEFAULT_DAYS }),
    ...(draft.keepAlive !== key.keepAlive && { keepAlive: draft.keepAlive }),
    ...(!isSameSet(origins, key.origins) && { origins: origins.length === 0 ? null : origins }),
  }
}

const isBound = ({ isForAll, scopes }: Draft): boolean => !isForAll && isAboutCharacters(scopes)

function castIn(draft: Draft): { characterIds: readonly string[] | null; tags: readonly string[] | null } {
  const some = (chosen: readonly string[]) => (isBound(draft) && chosen.length > 0 ? chosen : null)
  return { characterIds: some(draft.characterIds), tags: some(draft.tags) }
}

function isSameSet(one: readonly string[] | null, other: readonly string[] | null): boolean {
  if (one === null || other === null) return one === other
  return one.length === other.length && one.every((item) => other.includes(item))
}

function limitsIn({ limits }: Draft): Limits {
  return Object.fromEntries(
    LIMIT_NAMES.flatMap((name) => {
      const value = readLimit(name, limits[name])
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

const readLimit = (name: LimitName, typed: string): number | undefined =>
  name === 'budgetPerMonth' ? readAmount(typed) : readCount(typed)

function limitFault(name: LimitName, typed: string): string | undefined {
  if (typed.trim() === '' || readLimit(name, typed) !== undefined) return undefined
  return name === 'budgetPerMonth'
    ? 'Write an amount above 0 such as 12.50, or leave it empty.'
    : 'Write a whole number above 0, or leave it empty.'
}

/** With commas, spaces or apostrophes between thousands, as people write them. */
const GROUPED = /^\d{1,3}(?:[,’'\s]\d{3})+(?=\.|$)/
const ungrouped = (typed: string): string =>
  typed.trim().replace(GROUPED, (digits) => digits.replace(/\D/g, ''))

/** A comma for the decimals is not guessed at: it could have been meant for thousands. */
function readAmount(typed: string): number | undefined {
  const text = ungrouped(typed)
  const amount = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : 0
  return amount > 0 ? amount : undefined
}

function readCount(typed: string): number | undefined {
  const amount = readAmount(typed)
  return Number.isSafeInteger(amount) ? amount : undefined
}

/** What somebody copied out of an address bar ends in a slash, which no origin has. */
const originsIn = ({ origins }: Draft): string[] => [
  ...new Set(
    origins
      .split(/[\s,]+/)
      .filter(Boolean)
      .map((line) => line.replace(/\/$/, '')),
  ),
]

function originsFault(origins: readonly string[]): string | undefined {
  const wrong = origins.find((origin) => !URL.canParse(origin) || new URL(origin).origin !== origin)
  if (wrong !== undefined)
    return `“${wrong}” is no origin. Write it such as https://club.example, without a path.`
  return origins.length > MOST_ORIGINS ? `At most ${MOST_ORIGINS} can be named.` : undefined
}
