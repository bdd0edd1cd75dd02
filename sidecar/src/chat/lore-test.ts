/** Runs the lore of a character, or of a single book, over messages that nobody sent. */
import { AppError } from '#base/errors.ts'
import { frozenDraw } from '#characters/dice.ts'
import type { Library } from '#library/library.ts'
import { parseBook, type Lorebooks } from '#library/lorebooks.ts'
import type { ChatMessage } from '#prompt/ask.ts'
import { readConversation } from '#prompt/conversation.ts'
import { calledUpLore, fixedLore } from '#prompt/lore.ts'
import type { Materials, Scene } from '#prompt/prompt.ts'
import { estimateTokens } from '#prompt/tokens.ts'

/** A quarter of the smallest window in use, which is what SillyTavern ships. */
const DEFAULT_BUDGET_TOKENS = 1_024

export interface LoreTest {
  /** With its own book and those beside it. */
  character?: string | undefined
  /** A stored book alone. */
  lorebook?: string | undefined
  /** A book as it is being written. */
  book?: unknown
  messages: readonly ChatMessage[]
  budgetTokens?: number | undefined
  /** Names a chat that nobody has: its dice fall once, as in every chat. */
  seed?: string | undefined
  /** All dice fall there, from 0 up to 100: below an entry's probability it comes on. */
  dice?: number | undefined
}

export interface LoreTestParts {
  library: Pick<Library, 'get' | 'version'>
  lorebooks: Pick<Lorebooks, 'get' | 'of'>
  now: () => number
  timeZone: string
}

/** The same test shows the same twice. Throws AppError. */
export async function testLore(
  { budgetTokens = DEFAULT_BUDGET_TOKENS, ...tested }: LoreTest,
  on: LoreTestParts,
) {
  const materials = await materialsFor(tested, on)
  const { history, last } = readConversation(tested.messages)
  const { active, asked, explain } = calledUpLore(materials, [...history, last], budgetTokens)
  const always = fixedLore(materials).map(({ entry, book }) => ({
    ...{ book, entry: entry.label, place: entry.place, reason: 'it is always on, in the prefix' },
    ...{ tokens: estimateTokens(entry.content), text: entry.content },
  }))
  const called = [...active, ...asked].map(({ entry, book, text, reason, tokens }) => ({
    ...{ book, entry: entry.label, place: entry.place, reason, tokens, text },
  }))
  return {
    active: [...always, ...called],
    trace: explain().map(({ entry, ...line }) => ({ entry: entry.label, ...line })),
    tokens: called.reduce((sum, { tokens }) => sum + tokens, 0),
    budgetTokens,
  }
}

async function materialsFor(tested: LoreTest, on: LoreTestParts): Promise<Materials> {
  const { character, lorebook, book } = tested
  const scene = { modelName: '', dice: diceOf(tested), clock: { nowMs: on.now(), timeZone: on.timeZone } }
  const somebody = { userName: SOMEBODY, clockMs, scene }
  const named = [character, lorebook, book].filter((each) => each !== undefined)
  if (named.length !== 1)
    throw new AppError('invalid', 'Name one of "character", "lorebook" and "book"', { param: 'character' })
  if (character !== undefined) {
    const { publishedVersion, latestVersion } = await on.library.get(character)
    const { card, number } = await on.library.version(character, publishedVersion ?? latestVersion)
    const speaker = { characterId: character, version: number, card }
    return { speaker, books: on.lorebooks.of(character), ...somebody }
  }
  const alone =
    lorebook === undefined
      ? { id: 'tested', name: 'The book', book: parseBook(book) }
      : on.lorebooks.get(lorebook)
  return { speaker: NOBODY, books: [alone], ...somebody }
}

const FIRST_CHAT = '1'

/** As in a chat, but without its secret: nobody's chat is told in advance. */
function diceOf({ character = '', seed = FIRST_CHAT, dice }: LoreTest): Scene['dice'] {
  if (dice !== undefined) return () => () => dice / 100
  return (field) => frozenDraw('lore test', seed, character, field)
}

const clockMs = () => performance.now()

const SOMEBODY = 'User'

/** Has no lore of its own. */
const NOBODY: Materials['speaker'] = {
  characterId: '',
  version: 1,
  card: {
    ...{ name: 'Character', description: '', personality: '', scenario: '', first_mes: '', mes_example: '' },
    ...{
      creator_notes: '',
      system_prompt: '',
      post_history_instructions: '',
      creator: '',
      character_version: '',
    },
    ...{ alternate_greetings: [], group_only_greetings: [], tags: [], extensions: {} },
  },
}
