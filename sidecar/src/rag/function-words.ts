/** Words that hold a sentence together and say nothing by themselves, of the languages that most chats are in. */
import {
  ces,
  dan,
  deu,
  fin,
  fra,
  ind,
  ita,
  jpn,
  kor,
  nld,
  nob,
  pol,
  por,
  porBr,
  rus,
  spa,
  swe,
  tha,
  tur,
  ukr,
  vie,
  zho,
} from 'stopword'

import { indexWords, isStopWord, rawWords } from './words.mjs'

const foldedSet = (words: readonly string[]): ReadonlySet<string> => new Set(words.flatMap(indexWords))

const FOREIGN: readonly ReadonlySet<string>[] = [
  ...[ces, dan, deu, fin, fra, ind, ita, jpn, kor, nld, nob, pol, [...por, ...porBr]],
  ...[rus, spa, swe, tha, tur, ukr, vie, zho],
].map(foldedSet)

/**
 * Of the language that the text has most such words of: "die" and "war" are none in English. English where nothing says
 * otherwise. Takes words as `queryWords` gives them.
 */
export function functionWordTestFor(text: string): (word: string) => boolean {
  const words = rawWords(text).flatMap(indexWords)
  let best = isStopWord
  let most = words.filter(isStopWord).length
  for (const language of FOREIGN) {
    const count = words.filter((word) => language.has(word)).length
    if (count > most) [best, most] = [(word) => language.has(word), count]
  }
  return best
}
