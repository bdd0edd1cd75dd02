/** Runs the lore of a character, or of a single book, over messages that nobody sent. */
import { AppError } from '#base/errors.ts'
import type { Library } from '#library/library.ts'
import { parseBook, type Lorebooks } from '#library/lorebooks.ts'
import type { ChatMessage } from '#prompt/ask.ts'
import { readConversation } from '#prompt/conversation.ts'
import { calledUpLore, fixedLore } from '#prompt/lore.ts'
import type { Materials } from '#prompt/prompt.ts'
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
}

interface TestParts {
  library: Pick<Library, 'get' | 'version'>
  lorebooks: Pick<Lorebooks, 'get' | 'of'>
}

/** Dice always fall on their first side, so that a test shows the same twice. Throws AppError. */
export async function testLore({ budgetTokens = DEFAULT_BUDGET_TOKENS, ...tested }: LoreTest, on: TestParts) {
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

async function materialsFor({ character, lorebook, book }: LoreTest, on: TestParts): Promise<Materials> {
  const named = [character, lorebook, book].filter((each) => each !== undefined)
  if (named.length !== 1)
    throw new AppError('invalid', 'Name one of "character", "lorebook" and "book"', { param: 'character' })
  if (character !== undefined) {
    const { publishedVersion, latestVersion } = await on.library.get(character)
    const { card, number } = await on.library.version(character, publishedVersion ?? latestVersion)
    const speaker = { characterId: character, version: number, card }
    return { speaker, books: on.lorebooks.of(character), userName: SOMEBODY, clockMs }
  }
  const tested =
    lorebook === undefined
      ? { id: 'tested', name: 'The book', book: parseBook(book) }
      : on.lorebooks.get(lorebook)
  return { speaker: NOBODY, books: [tested], userName: SOMEBODY, clockMs }
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
