import { describe, expect, test } from 'vitest'

import { SMALL_TALK } from '#knowledge/small-talk.ts'
import { followUpOf, type FollowUp } from '#rag/follow-up.ts'
import { passing, type Lookup } from '#rag/question.ts'

import { unseenFollowUps, unseenSmallTalk, type Language } from '../../support/gate.ts'

test.each([
  ['And when?', 'clear'],
  ['tell me more', 'clear'],
  ['more please', 'clear'],
  ['Why?', 'clear'],
  ['and the second one', 'clear'],
  ['What is it made of?', 'clear'],
  ['Can I take it home?', 'told'],
  ['How are you?', 'none'],
  ["That's so nice!", 'none'],
  ['thanks, that was it', 'none'],
  ['I can not take any more', 'none'],
  ['Und im Sommer?', 'clear'],
  ['Mehr dazu bitte', 'clear'],
  ['Wie geht es dir?', 'none'],
  ['¿Y en verano?', 'clear'],
  ['¿De qué está hecho?', 'clear'],
  ['Hola, ¿cómo estás?', 'none'],
  ['¿Qué tal todo?', 'none'],
  ['Quizás más tarde.', 'none'],
  ['夏天呢？', 'clear'],
  ['是谁建的？', 'clear'],
  ['你多大了？', 'none'],
  ['แล้วหน้าร้อนล่ะ', 'clear'],
  ['อยู่ที่ไหน', 'clear'],
  ['ทำอะไรอยู่', 'none'],
  ['สวัสดี เป็นอย่างไรบ้าง', 'none'],
] as const)('"%s" goes on with the question before: %s', (text, followUp) => {
  expect(followUpOf(text)).toBe(followUp)
})

const shareOf = (texts: readonly string[], followUp: ReturnType<typeof followUpOf>) =>
  texts.filter((text) => followUpOf(text) === followUp).length / texts.length

describe.each<Language>(['en', 'de', 'es', 'zh', 'th'])(
  'of texts that no rule was made for (%s)',
  (language) => {
    test('small talk hardly ever goes on with a question, follow-ups nearly always do', () => {
      expect(shareOf(unseenSmallTalk(language), 'clear')).toBeLessThanOrEqual(0.05)
      expect(shareOf(unseenFollowUps(language), 'none')).toBeLessThanOrEqual(0.05)
    })
  },
)

test('nor does the small talk that bases are tried with, but for "go on"', () => {
  for (const texts of Object.values(SMALL_TALK).flat()) expect(shareOf(texts, 'clear')).toBeLessThan(0.05)
})

describe('the message before', () => {
  const own: Lookup = { text: 'Can I?', words: ['can'], weight: 1 }
  const joined = (followUp: FollowUp): Lookup[] => [own, { ...own, weight: 0.5, followUp }]
  const verdict = (passes: boolean, strength = 0) =>
    ({ passes, strength, reason: passes ? 'words' : 'small talk', coverage: 0 }) as const

  test.each([
    ['clear', 0, true],
    ['told', 0, false],
    ['told', 1.5, true],
    ['none', 1.5, false],
  ] as const)(
    'decides for a turn that goes on with it (%s, own words %d): %s',
    (followUp, strength, decides) => {
      const verdicts = [verdict(false, strength), verdict(true)]
      expect(passing(joined(followUp), verdicts)).toBe(decides ? verdicts[1] : undefined)
    },
  )

  test('is not asked where the turn passes by itself', () => {
    const verdicts = [verdict(true), verdict(true)]
    expect(passing(joined('none'), verdicts)).toBe(verdicts[0])
  })
})
