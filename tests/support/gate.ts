/**
 * The gate as a turn meets it where words alone are compared, and what it is measured with. What lies in
 * `fixtures/gate-unseen` was written before anybody saw what the gate makes of it, and nothing may ever be tuned on it.
 */
import { readFileSync } from 'node:fs'
import path from 'node:path'

import { createFloors } from '#knowledge/floors.ts'
import { decide } from '#rag/gate.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import { lookupsOf, passing, type Lookup } from '#rag/question.ts'

const UNSEEN = path.join(import.meta.dirname, '../fixtures/gate-unseen')

export type Language = 'en' | 'de' | 'es' | 'zh' | 'th'

const linesOf = (file: string) => readFileSync(path.join(UNSEEN, file), 'utf8').trim().split('\n')

export const unseenSmallTalk = (language: Language) => linesOf(`small-talk.${language}.txt`)
/** As they follow a question about anything. */
export const unseenFollowUps = (language: Language) => linesOf(`follow-ups.${language}.txt`)
/** All are answered by the handbook of the language, those in English by what Benno knows. */
export const unseenQuestions = (language: 'en' | 'de' | 'es') => linesOf(`questions.${language}.txt`)
export const handbookFile = (language: 'de' | 'es') => path.join(UNSEEN, `handbook.${language}.md`)

/** Tries the base; answers how to tell the share of texts that pass, each by itself or behind one of the questions in turn. */
export async function openGate(
  lexical: LexicalIndex,
  baseId: string,
): Promise<(texts: readonly string[], behind?: readonly string[]) => Promise<number>> {
  const census = () => Promise.resolve({ pieces: 1, newest: 1, since: 1 })
  const floors = createFloors({ lexical, census, vectors: undefined, now: () => 0 })
  const base = { id: baseId, generation: 1, revision: 1, fingerprint: null }
  await floors.calibrate(base, new AbortController().signal)
  const verdictOf = async (lookup: Lookup) => {
    const scopes = [{ baseId, generation: 1 }]
    const found = await lexical.search({ scopes, words: lookup.words, limit: 5 })
    const chance = floors.chance(base, lookup.text)
    return decide({ ...lookup, lexical: found, ...(chance === undefined ? {} : { chance }) })
  }
  return async (texts, behind = []) => {
    let passed = 0
    for (const [at, text] of texts.entries()) {
      const lookups = lookupsOf(text, behind[at % behind.length])
      const verdicts = await Promise.all(lookups.map(verdictOf))
      if (passing(lookups, verdicts) !== undefined) passed++
    }
    return passed / texts.length
  }
}
