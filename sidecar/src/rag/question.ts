/** What is looked up for a turn: its last message, and with it the message before when it leans on that. */
import { asks, followUpOf, isElliptical, type FollowUp } from './follow-up.ts'
import { functionWordTestFor } from './function-words.ts'
import type { Verdict } from './gate.ts'
import { queryWords, rawWords } from './words.mjs'

export interface Lookup {
  /** For the embedding model. */
  text: string
  /** For the index of words. */
  words: readonly string[]
  weight: number
  /** Of one that the message before was joined to: whether it may find something where the message itself does not. */
  followUp?: FollowUp
}

/** Fewer telling words than this find little by themselves. */
const FEW_WORDS = 4
/** The message itself counts twice what it leans on does. */
const LEANING_WEIGHT = 0.5
/** Longer messages are cut at their end: the models take no more, and a question stands there. */
const LONGEST = 2_000
/** See `Verdict`: of one that stands in one piece only. */
const RARE_WORD = 1
const MOST_WORDS = 48

/** What points back: "and when was it built?", "tell me more". In other languages a question of few telling words does. */
const POINTERS = new Set(
  (
    'it its he him his she her hers they them their theirs this that these those there here one ones same such and but so ' +
    'then also else more another other others former latter why how continue'
  ).split(' '),
)

/** Best lookup first; none for a text without words. */
export function lookupsOf(text: string, previous: string | undefined): Lookup[] {
  const end = text.slice(-LONGEST)
  const own = lookup(end, 1)
  if (previous === undefined || !leans(end)) return own.words.length === 0 ? [] : [own]
  const joined = lookup(`${previous.slice(-LONGEST)}\n${end}`, LEANING_WEIGHT)
  return [own, { ...joined, followUp: followUpOf(end) }].filter(({ words }) => words.length > 0)
}

/**
 * The verdict of the first lookup by which anything is told: the message itself, or it goes on with the one before. Behind a
 * question every "How are you?" would find again what that did.
 */
export function passing<V extends Verdict>(
  lookups: readonly Lookup[],
  verdicts: readonly V[],
): V | undefined {
  const own = verdicts[lookups.findIndex(({ followUp }) => followUp === undefined)]
  const hasOwnWords = (own?.strength ?? 0) > RARE_WORD
  const mayDecide = ({ followUp = 'clear' }: Lookup) =>
    followUp === 'clear' || (followUp === 'told' && hasOwnWords)
  return verdicts.find(({ passes }, at) => {
    const of = lookups[at]
    return passes && of !== undefined && mayDecide(of)
  })
}

function lookup(text: string, weight: number): Lookup {
  const end = text.slice(-LONGEST).trim()
  return { text: end, words: queryWords(end).slice(-MOST_WORDS), weight }
}

function leans(text: string): boolean {
  if (isElliptical(text)) return true
  const words = rawWords(text)
  if (words.some((word) => POINTERS.has(word))) return true
  const isFunctionWord = functionWordTestFor(text)
  const telling = queryWords(text).filter((word) => !isFunctionWord(word))
  return asks(text) && telling.length < FEW_WORDS
}
