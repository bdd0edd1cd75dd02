/**
 * Whether a turn asks for anything that the base has. Small talk finds passages too, and a character that answers "hello" from
 * a handbook is worse than one without. The bounds are measured: `tests/contract/retrieval-sets.test.ts`.
 */
import type { LexicalResult } from './lexical.ts'
import { indexWords, isStopWord, rawWords } from './words.mjs'

export interface GateInput {
  text: string
  words: readonly string[]
  lexical: LexicalResult
  /** Cosine of the nearest piece; absent where no vectors were compared. */
  similarity?: number
  /** What small talk reaches in these vectors: see `knowledge/floors.ts`. */
  floor?: number
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

/** English, as are most that ask; in other languages the first bound holds. */
const QUESTION_WORDS = new Set(
  'who whom whose what when where which why how is are was were does did tell describe list'.split(' '),
)
const PERSONAL_WORDS = new Set('i me my mine you your yours u we us our lets'.split(' '))

/** A little more than one word that stands in one piece only. */
const LEAST_STRENGTH = 1.1
/** Of a question about somebody or something else: "who is Brakk?" names one who stands on every other page. */
const LEAST_STRENGTH_OF_QUESTION = 0.1
const LEAST_COVERAGE = 0.25
/** From here on the words are enough by themselves. */
const ENOUGH_STRENGTH = 2.2
/** A question whose words are there as well may be further away by this. */
const NEARNESS_SPARED = 0.1

export function decide(input: GateInput): Verdict {
  const { strength, coverage, isTold, isSaying } = shared(input)
  const least = isTold && isImpersonal(input.text) ? LEAST_STRENGTH_OF_QUESTION : LEAST_STRENGTH
  const hasWords = strength >= least && coverage >= LEAST_COVERAGE
  const verdict = (passes: boolean, reason: Verdict['reason']) => ({ passes, reason, strength, coverage })
  const nothing = verdict(false, input.lexical.hits.length === 0 ? 'nothing found' : 'small talk')
  const { similarity, floor } = input
  if (similarity === undefined || floor === undefined) return hasWords ? verdict(true, 'words') : nothing
  // One word of conversation is near to the emptiest of the pieces, whatever that is about.
  if (similarity >= floor && isSaying) return verdict(true, hasWords ? 'both' : 'meaning')
  const spared = strength >= ENOUGH_STRENGTH || similarity >= floor - NEARNESS_SPARED
  return hasWords && spared ? verdict(true, 'words') : nothing
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

function shared({ words, lexical }: GateInput): Shared {
  const { hits, counts, total } = lexical
  const isTelling = words.map((word) => !isStopWord(word) && !CHATTY.has(word))
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
