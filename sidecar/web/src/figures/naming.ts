/** Keys of rows and columns as a reader knows them. */
import type { Dimension, Filter } from './choice.ts'
import { failureWords } from './findings.ts'
import type { Row, Value } from './figure.ts'

export const COLUMN_NAMES: Record<string, string> = {
  atMs: 'When',
  character: 'Character',
  version: 'Version',
  model: 'Model',
  surface: 'Where',
  group: 'Group',
  kind: 'Kind',
  error: 'Why',
  entry: 'Entry',
  document: 'Document',
  calls: 'Calls',
  messages: 'Finished answers',
  chats: 'Chats',
  turnsPerChat: 'Turns a chat',
  failed: 'Failed',
  cancelled: 'Left by the client',
  errorRate: 'Failures',
  promptTokens: 'Tokens read',
  completionTokens: 'Tokens written',
  cacheShare: 'Not read again',
  firstTokenP50: 'First token, half',
  firstTokenP90: 'First token, 9 of 10',
  firstTokenP99: 'First token, 99 of 100',
  totalP50: 'Whole, half',
  totalP90: 'Whole, 9 of 10',
  totalP99: 'Whole, 99 of 100',
  tokensPerSecond: 'Tokens a second',
  timedCalls: 'Calls with times',
  queueShare: 'Queue',
  loadShare: 'Loading',
  prefillShare: 'Reading',
  decodeShare: 'Writing',
  coldCalls: 'Waited for a load',
  satisfaction: 'Satisfaction',
  up: 'Thumbs up',
  down: 'Thumbs down',
  regenerated: 'Asked again',
  regenerateRate: 'Asked again, share',
  cost: 'Cost',
  pricedCalls: 'Calls with a price',
  leastPeople: 'People, at least',
  failures: 'Calls',
  share: 'Of all calls',
  used: 'In prompts',
  dropped: 'No room',
  unused: 'Found, left out',
  tokens: 'Tokens',
  score: 'Mean score',
  daily: 'On the day',
  weekly: 'In 7 days',
  monthly: 'In 30 days',
  stickiness: 'Day among 30 days',
  fresh: 'New',
  returning: 'Returning',
}

export const DIMENSION_NAMES: Record<Dimension, string> = {
  character: 'Character',
  version: 'Version',
  model: 'Model',
  surface: 'Where',
  group: 'Group',
  kind: 'Kind',
}

const SURFACES: Record<string, string> = { 'open-webui': 'Open WebUI', api: 'API' }
const KINDS: Record<string, string> = {
  turn: 'Turns of people',
  task: 'Tasks of Open WebUI',
  embedding: 'Embeddings',
  warm_up: 'Personas read ahead',
}
/** What the sidecar calls rows that are about too few people, put together. */
const OTHERS = '(others)'

export interface Known {
  character: (id: string) => string | undefined
  document: (id: string) => string | undefined
}

export function nameOf(key: string, value: Value | undefined, known: Known): string {
  const text = String(value ?? '')
  if (text === OTHERS) return 'Others, of few people each'
  return NAMES[key]?.(text, known) ?? text
}

const NAMES: Record<string, (text: string, known: Known) => string> = {
  character: (id, known) => (id === '' ? 'No character' : (known.character(id) ?? id)),
  document: (id, known) => known.document(id) ?? id,
  model: (model) => model || 'No model',
  surface: (surface) => SURFACES[surface] ?? surface,
  kind: (kind) => KINDS[kind] ?? kind,
  error: (error) => capital(failureWords(error)),
}

/** What a row is about: for versions, the character and the number. */
export function rowName(row: Row, by: Dimension, known: Known): string {
  if (by !== 'version') return nameOf(by, row[by], known)
  return `${nameOf('character', row['character'], known)}, version ${String(row['version'] ?? '')}`
}

/** The filter that a click on a row sets; null for rows that are about several things. */
export function filterOf(row: Row, by: Dimension): { filter: Filter; value: string } | null {
  const filter = by === 'version' ? 'character' : by
  if (filter === 'kind') return null
  const value = row[filter]
  return typeof value !== 'string' || value === '' || value === OTHERS ? null : { filter, value }
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
