/** Lorebooks that are files of their own: V3's, those of SillyTavern, Agnai, RisuAI and NovelAI, and those inside cards. */
import { AppError } from '#base/errors.ts'

import type { Lorebook, Note } from './card.ts'
import { fromMemoryBook, renamed } from './foreign.ts'
import { json } from './formats/json.ts'
import { createMender, isObject, present, type Fields } from './mend.ts'
import { createNotebook } from './notes.ts'
import { parseCardJson } from './parse.ts'
import { readCard } from './read.ts'
import { remarkLorebook } from './remarks.ts'
import { salvageLorebook } from './salvage-lorebook.ts'

export interface ReadLorebook {
  /** The book's own name, else the file's. */
  name: string
  lorebook: Lorebook
  notes: Note[]
}

/** Rejects with AppError `invalid` or `too_large` and a sentence that says what to do. */
export async function readLorebook(bytes: Uint8Array, fileName: string): Promise<ReadLorebook> {
  const notebook = createNotebook()
  const root = json.sniff(bytes) ? parseCardJson(Buffer.from(bytes), notebook) : undefined
  const own = isObject(root) ? bookIn(root) : undefined
  if (own === undefined) return readCardsBook(bytes, fileName)
  const lorebook = salvageLorebook(own, createMender(notebook))
  if (lorebook === undefined) throw nothing()
  remarkLorebook(lorebook, notebook)
  return { name: lorebook.name?.trim() || baseName(fileName), lorebook, notes: notebook.list() }
}

async function readCardsBook(bytes: Uint8Array, fileName: string): Promise<ReadLorebook> {
  const { card, notes } = await readCard(bytes, fileName).catch((cause: unknown) => {
    throw cause instanceof AppError && cause.code === 'invalid' ? nothing(cause) : cause
  })
  const lorebook = card.character_book
  if (lorebook === undefined)
    throw new AppError('invalid', `The card of ${card.name} has no lorebook; take a lorebook file`)
  return { name: lorebook.name?.trim() || card.name, lorebook, notes }
}

const nothing = (cause?: unknown) =>
  new AppError(
    'invalid',
    'This is no lorebook; take a V3 lorebook, a world file of SillyTavern, or a card that has one',
    { cause },
  )

const baseName = (fileName: string): string =>
  (fileName.split(/[/\\]/).at(-1) ?? '').replace(/\.[^.]*$/, '') || 'Lorebook'

/** The strict V3 form; reading it gives the same book. Equal books give equal bytes. */
export const writeLorebook = (lorebook: Lorebook): Uint8Array =>
  Buffer.from(`${JSON.stringify({ spec: 'lorebook_v3', data: lorebook }, null, 2)}\n`)

// -- forms ------------------------------------------------------------------------------------------------------------

/** Under the specification's names. Undefined when this is a card, or nothing of the kind. */
function bookIn(root: Fields): Fields | undefined {
  if (root['spec'] === 'lorebook_v3') return isObject(root['data']) ? root['data'] : undefined
  if (root['kind'] === 'memory') return fromMemoryBook(root)
  if (root['type'] === 'risu') return fromRisu(root)
  if (root['lorebookVersion'] !== undefined) return fromNovelAi(root)
  return isObject(root['entries']) || Array.isArray(root['entries']) ? fromWorldFile(root) : undefined
}

/** Names in SillyTavern's world files, and where a card has the same. Source: reference of fields, SillyTavern 1.18. */
const BOOK_FIELDS: Readonly<Record<string, string>> = {
  scanDepth: 'scan_depth',
  tokenBudget: 'token_budget',
  recursiveScanning: 'recursive_scanning',
}
const ENTRY_FIELDS: Readonly<Record<string, string>> = {
  uid: 'id',
  key: 'keys',
  keysecondary: 'secondary_keys',
  order: 'insertion_order',
  caseSensitive: 'case_sensitive',
}
const EXTENSION_FIELDS: Readonly<Record<string, string>> = {
  selectiveLogic: 'selectiveLogic',
  scanDepth: 'scan_depth',
  matchWholeWords: 'match_whole_words',
  probability: 'probability',
  useProbability: 'useProbability',
  depth: 'depth',
  role: 'role',
  outletName: 'outlet_name',
  group: 'group',
  groupOverride: 'group_override',
  groupWeight: 'group_weight',
  useGroupScoring: 'use_group_scoring',
  sticky: 'sticky',
  cooldown: 'cooldown',
  delay: 'delay',
  excludeRecursion: 'exclude_recursion',
  preventRecursion: 'prevent_recursion',
  delayUntilRecursion: 'delay_until_recursion',
  ignoreBudget: 'ignore_budget',
  triggers: 'triggers',
  characterFilter: 'character_filter',
  matchPersonaDescription: 'match_persona_description',
  matchCharacterDescription: 'match_character_description',
  matchCharacterPersonality: 'match_character_personality',
  matchCharacterDepthPrompt: 'match_character_depth_prompt',
  matchScenario: 'match_scenario',
  matchCreatorNotes: 'match_creator_notes',
  vectorized: 'vectorized',
  automationId: 'automation_id',
  displayIndex: 'display_index',
}

function fromWorldFile(root: Fields): Fields {
  const entries = isObject(root['entries']) ? Object.values(root['entries']) : root['entries']
  const list: readonly unknown[] = Array.isArray(entries) ? entries : []
  return {
    ...renamed(root, BOOK_FIELDS),
    entries: list.map((entry) => (isObject(entry) ? fromWorldEntry(entry) : entry)),
  }
}

function fromWorldEntry(entry: Fields): Fields {
  const { disable, position, ...fields } = renamed(entry, ENTRY_FIELDS)
  const own: Fields = {}
  const moved: Fields = typeof position === 'number' ? { position } : {}
  for (const [name, value] of Object.entries(fields)) {
    const extension = EXTENSION_FIELDS[name]
    if (extension === undefined) own[name] = value
    else moved[extension] = value
  }
  const extensions = isObject(own['extensions']) ? { ...moved, ...own['extensions'] } : moved
  // Without this mark it would be taken for a book by the rules of V3, whose words mean other things.
  const marked = 'selectiveLogic' in extensions ? extensions : { selectiveLogic: 0, ...extensions }
  const enabled = own['enabled'] ?? (typeof disable === 'boolean' ? !disable : disable)
  return {
    ...own,
    ...present({ enabled: enabled ?? undefined, position: placeOf(position) }),
    extensions: marked,
  }
}

/** Two of SillyTavern's eight places have a word in the specification. */
function placeOf(position: unknown): unknown {
  if (typeof position !== 'number') return position
  return ['before_char', 'after_char'][position]
}

const RISU_FIELDS = {
  secondkey: 'secondary_keys',
  insertorder: 'insertion_order',
  alwaysActive: 'constant',
  useRegex: 'use_regex',
}

/** Its rows that are folders have no text; they are kept, and never called up. */
function fromRisu({ data, type: _type, ...root }: Fields): Fields {
  const list: readonly unknown[] = Array.isArray(data) ? data : []
  const entries = list.map((each) => {
    if (!isObject(each)) return each
    const {
      key,
      activationPercent: probability,
      secondary_keys: second,
      ...entry
    } = renamed(each, RISU_FIELDS)
    return {
      ...entry,
      ...present({ keys: listed(key), secondary_keys: listed(second) }),
      ...(entry['mode'] === 'folder' && { enabled: false }),
      extensions: { ...(isObject(entry['extensions']) && entry['extensions']), ...present({ probability }) },
    }
  })
  return { ...root, entries }
}

/** One text with commas; a pattern may hold commas of its own. */
const listed = (keys: unknown): unknown =>
  typeof keys === 'string' && !keys.trim().startsWith('/') ? keys.split(',').map((key) => key.trim()) : keys

const NOVELAI_FIELDS = { text: 'content', displayName: 'name', forceActivation: 'constant' }

function fromNovelAi({ entries, ...root }: Fields): Fields {
  const list: readonly unknown[] = Array.isArray(entries) ? entries : []
  return {
    ...root,
    entries: list.map((each) => {
      if (!isObject(each)) return each
      const { contextConfig } = each
      const order = isObject(contextConfig) ? contextConfig['budgetPriority'] : undefined
      return { ...renamed(each, NOVELAI_FIELDS), ...present({ insertion_order: order }) }
    }),
  }
}
