/**
 * The words under which a text is found, the same for every index: plain JavaScript, because the threads of the SQLite
 * indexes need them too. Scripts without spaces are cut by `Intl.Segmenter`: without it Chinese and Thai are hardly found
 * at all (nDCG@10 of 0.12 and 0.24 against 0.96, `tests/contract/retrieval-sets.test.ts`).
 */
import { stemmer } from 'stemmer'

const UNSPACED =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u
const WORD = /[\p{L}\p{M}\p{N}]+/gu
/** Of Latin, Greek and Cyrillic letters. The marks of other scripts are vowels, without which words mean something else. */
const ACCENTS = /[\u0300-\u036f]/g
/** Porter's rules are for English; on other words of plain letters they do little, and the same in question and text. */
const STEMMED = /^[a-z]{3,}$/
/** Longer "words" are encoded data, which nobody asks for. */
const LONGEST_WORD = 64

const segmenter = new Intl.Segmenter('und', { granularity: 'word' })

/** English words that say nothing about what a question is after. */
const STOP_WORDS = new Set(
  (
    'a about above after again against all also am an and any are as at be because been before being below between both ' +
    'but by can could d did do does doing don down during each few for from further had has have having he her here hers ' +
    'herself him himself his how i if in into is it its itself just ll m me more most my myself no nor not now of off on ' +
    'once only or other our ours ourselves out over own re s same she should so some such t than that the their theirs ' +
    'them themselves then there these they this those through to too under until up ve very was we were what when where ' +
    'which while who whom whose why will with would you your yours yourself yourselves'
  ).split(' '),
)

/**
 * In the order of the text, folded to lower case without accents.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function rawWords(text) {
  const folded = text.normalize('NFKD').replace(ACCENTS, '').normalize('NFC').toLowerCase()
  const words = UNSPACED.test(folded) ? segmented(folded) : (folded.match(WORD) ?? [])
  return words.filter((word) => word.length <= LONGEST_WORD)
}

/** @param {string} text */
function segmented(text) {
  /** @type {string[]} */
  const words = []
  for (const { segment, isWordLike } of segmenter.segment(text))
    if (isWordLike === true) words.push(...(segment.match(WORD) ?? []))
  return words
}

/** @param {string} word */
const stem = (word) => (STEMMED.test(word) ? stemmer(word) : word)

const STOP_STEMS = new Set([...STOP_WORDS].map(stem))

/**
 * What an index keeps of a text.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function indexWords(text) {
  return rawWords(text).map(stem)
}

/**
 * What a question is looked up by: each word once, without those that say nothing, unless it has no others.
 *
 * @param {string} text
 * @returns {string[]}
 */
export function queryWords(text) {
  const all = rawWords(text)
  const telling = all.filter((word) => !STOP_WORDS.has(word))
  return [...new Set((telling.length > 0 ? telling : all).map(stem))]
}

/**
 * Of a word as `queryWords` gives it.
 *
 * @param {string} word
 */
export function isStopWord(word) {
  return STOP_STEMS.has(word)
}
