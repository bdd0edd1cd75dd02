/** What is looked up for a turn: its last message, and with it the message before when it leans on that. */
import { functionWordTestFor } from './function-words.ts'
import { queryWords, rawWords } from './words.mjs'

export interface Lookup {
  /** For the embedding model. */
  text: string
  /** For the index of words. */
  words: readonly string[]
  weight: number
}

/** Fewer telling words than this find little by themselves. */
const FEW_WORDS = 4
/** The message itself counts twice what it leans on does. */
const LEANING_WEIGHT = 0.5
/** Longer messages are cut at their end: the models take no more, and a question stands there. */
const LONGEST = 2_000
const MOST_WORDS = 48

/** Also of what is written from right to left, and of full width. */
const QUESTION_MARK = /[?？؟]/
/** What points back: "and when was it built?", "tell me more". In other languages a question of few telling words does. */
const POINTERS = new Set(
  (
    'it its he him his she her hers they them their theirs this that these those there here one ones same such and but so ' +
    'then also else more another other others former latter why how continue'
  ).split(' '),
)

/** Best lookup first; none for a text without words. */
export function lookupsOf(text: string, previous: string | undefined): Lookup[] {
  const own = lookup(text, 1)
  if (previous === undefined || !leans(text)) return own.words.length === 0 ? [] : [own]
  const joined = lookup(`${previous.slice(-LONGEST)}\n${text}`, LEANING_WEIGHT)
  return [own, joined].filter(({ words }) => words.length > 0)
}

function lookup(text: string, weight: number): Lookup {
  const end = text.slice(-LONGEST).trim()
  return { text: end, words: queryWords(end).slice(-MOST_WORDS), weight }
}

function leans(text: string): boolean {
  const words = rawWords(text)
  if (words.some((word) => POINTERS.has(word))) return true
  const isFunctionWord = functionWordTestFor(text)
  const telling = queryWords(text).filter((word) => !isFunctionWord(word))
  return QUESTION_MARK.test(text) && telling.length < FEW_WORDS
}
