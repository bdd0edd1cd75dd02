/**
 * Whether a turn asks for anything that the base has. Small talk finds passages too, and a character that answers "hello" from
 * a handbook is worse than one without. The bounds are measured: `tests/contract/retrieval-sets.test.ts`.
 */
import { functionWordTestFor } from './function-words.ts'
import type { LexicalResult } from './lexical.ts'
import { indexWords, rawWords } from './words.mjs'

export interface GateInput {
  text: string
  words: readonly string[]
  lexical: LexicalResult
  /** Cosine of the nearest piece; absent where no vectors were compared. */
  similarity?: number
  /** What small talk reaches in these vectors: see `knowledge/floors.ts`. */
  floor?: number
  /** The strength that small talk of this kind reaches in this base; absent until it was tried. */
  chance?: number
}

export interface Verdict {
  passes: boolean
  reason: 'words' | 'meaning' | 'both' | 'small talk' | 'nothing found'
  /** Rarity of the words that the best piece shares with the question, in that of a word which stands in one piece only. */
  strength: number
  /** Share of the question's rarity that this is. */
  coverage: number
}

/** Words of conversation, which count little: they stand in handbooks and novels as well. */
const CHATTY = new Set(
  indexWords(
    'hello hi hey yo bye goodbye good morning evening afternoon night day today tomorrow yesterday tonight weekend thank thanks ' +
      'cheers please sorry ok okay yes yeah yep nope sure maybe really actually like love hate want know think feel tell say ' +
      'said told talk speak ask answer look see watch go going gone come get got make do doing let nice great fine well cool ' +
      'awesome lovely bad sad happy glad angry tired bored lonely scared hungry sick cute smart sweet best better favorite ' +
      'favourite friend buddy stranger story joke song game play fun funny kidding laugh lol haha hmm hm um uh wow oh ah name ' +
      'old remember forget thing something anything nothing everything someone anyone everyone lot much many time long back ' +
      'wait moment help need mean guess hope wish wonder believe understand listen hear happen work job boss home eat food ' +
      'breakfast lunch dinner coffee sleep slept dream miss hug smile nod laugh walk sit eye hand face life interesting matter ' +
      'welcome luck congratulation birthday christmas year weather rain hot cold outside plan later soon again still yet even ' +
      'always never often right wrong true real else away little bit way first last next new turn trust worry care mind topic ' +
      'subject continue repeat explain',
  ),
)
const CHATTY_WEIGHT = 0.35

/** English, as are most that ask; in other languages the mark at the end says it. */
const QUESTION_WORDS = new Set(
  'who whom whose what when where which why how is are was were does did tell describe list'.split(' '),
)
const PERSONAL_WORDS = new Set('i me my mine you your yours u we us our lets'.split(' '))
const QUESTION_MARK = /[?？؟]/
/** Of Thai and Chinese, which ask without a mark as well: what, who, where, when, why, how, how many, and the particles. */
const UNMARKED_QUESTION =
  /อะไร|ใคร|ที่ไหน|เมื่อไร|เมื่อไหร่|เมื่อใด|ทำไม|อย่างไร|ยังไง|เท่าไร|เท่าไหร่|เท่าใด|กี่|ไหม|หรือเปล่า|什么|谁|哪|为什么|怎么|多少|几|吗/

/** Where no small talk was tried: a little more than one word that stands in one piece only, and some of what was said. */
const UNTRIED_STRENGTH = 1.1
const UNTRIED_COVERAGE = 0.25
/** More than a word of conversation, even in a base that small talk has nothing in common with. */
const LEAST_STRENGTH = 0.5
/** From here on the words are enough by themselves. */
const ENOUGH_STRENGTH = 2.2
/** A question whose words are there as well may be further away by this. */
const NEARNESS_SPARED = 0.1

export function decide(input: GateInput): Verdict {
  const { strength, coverage, isTold, isSaying } = shared(input)
  // "Who is Brakk?" may name one who stands on every page: rare or not, a question about somebody else is asked for.
  const isAskedFor = isTold && isAsking(input.text) && isImpersonal(input.text)
  const hasWords = isAskedFor || isUnlikely(input, { strength, coverage })
  const verdict = (passes: boolean, reason: Verdict['reason']) => ({ passes, reason, strength, coverage })
  const nothing = verdict(false, input.lexical.hits.length === 0 ? 'nothing found' : 'small talk')
  const { similarity, floor } = input
  if (similarity === undefined || floor === undefined) return hasWords ? verdict(true, 'words') : nothing
  // One word of conversation is near to the emptiest of the pieces, whatever that is about.
  if (similarity >= floor && isSaying) return verdict(true, hasWords ? 'both' : 'meaning')
  const spared = strength >= ENOUGH_STRENGTH || similarity >= floor - NEARNESS_SPARED
  return hasWords && spared ? verdict(true, 'words') : nothing
}

/** Whether small talk hardly shares so much with this base. */
function isUnlikely(
  { chance }: GateInput,
  { strength, coverage }: { strength: number; coverage: number },
): boolean {
  if (chance === undefined) return strength >= UNTRIED_STRENGTH && coverage >= UNTRIED_COVERAGE
  return strength > Math.max(chance, LEAST_STRENGTH)
}

/** Small talk that asks has other words than small talk that tells. */
export function isAsking(text: string): boolean {
  if (QUESTION_MARK.test(text) || UNMARKED_QUESTION.test(text)) return true
  return QUESTION_WORDS.has(rawWords(text)[0] ?? '')
}

function isImpersonal(text: string): boolean {
  const words = rawWords(text)
  return words.some((word) => QUESTION_WORDS.has(word)) && !words.some((word) => PERSONAL_WORDS.has(word))
}

interface Shared {
  strength: number
  coverage: number
  /** The question has a word that is not of conversation. */
  isSaying: boolean
  /** The best of the first hits has it as well. */
  isTold: boolean
}

function shared({ text, words, lexical }: GateInput): Shared {
  const { hits, counts, total } = lexical
  const isFunctionWord = functionWordTestFor(text)
  const isTelling = words.map((word) => !isFunctionWord(word) && !CHATTY.has(word))
  const rarity = words.map(
    (_, index) => rarityOf(counts[index] ?? 0, total) * (isTelling[index] === true ? 1 : CHATTY_WEIGHT),
  )
  const all = sum(rarity)
  const best = hits
    .map(({ has = [] }) => ({ has, strength: sum(has.map((index) => rarity[index] ?? 0)) }))
    .reduce((one, other) => (other.strength > one.strength ? other : one), {
      has: [] as readonly number[],
      strength: 0,
    })
  return {
    strength: best.strength / rarityOf(1, Math.max(total, 1)),
    coverage: all === 0 ? 0 : best.strength / all,
    isSaying: isTelling.includes(true),
    isTold: best.has.some((index) => isTelling[index] === true),
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0)

const rarityOf = (count: number, total: number) =>
  Math.log(1 + (Math.max(0, total - count) + 0.5) / (count + 0.5))
