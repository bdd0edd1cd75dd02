import { expect, test } from 'vitest'

import { lookupsOf } from '#rag/question.ts'
import { indexWords, queryWords } from '#rag/words.mjs'

test.each([
  ['What does the lamp cost?', ['lamp', 'cost']],
  ['Who are you?', ['who', 'ar', 'you']],
  ['Zoë’s CAFÉS', ['zoe', 'cafe']],
  ['a "quoted" OR NEAR(x*) col:y -z', ['quot', 'near', 'x', 'col', 'y', 'z']],
  ['?!…', []],
  ['灯塔在哪里？', ['灯塔', '在', '哪里']],
])('%s is looked up by %j', (text, words) => {
  expect(queryWords(text)).toEqual(words)
})

test('encoded data is no word', () => {
  expect(indexWords(`a ${'x'.repeat(65)} b`)).toEqual(['a', 'b'])
})

test('a question that stands for itself is looked up alone', () => {
  const lookups = lookupsOf('What does a brass lamp cost in the harbour?', 'Tell me about the town.')
  expect(lookups).toHaveLength(1)
})

test.each(['And how old is it?', 'tell me more', 'Why?', 'Who built that tower in the harbour?'])(
  '"%s" leans on the message before, which counts half',
  (text) => {
    const [own, joined] = lookupsOf(text, 'Is there a lighthouse?')
    expect(own).toMatchObject({ text, weight: 1 })
    expect(joined).toMatchObject({ text: `Is there a lighthouse?\n${text}`, weight: 0.5 })
    expect(joined?.words).toContain('lighthous')
  },
)

test.each([
  ['Und wann wurde er gebaut?', 'Wer hat den Leuchtturm im Hafen von Erlen gebaut und bezahlt?', 2],
  ['¿Y cuándo lo construyeron?', '¿Quién pagó el faro del puerto de Erlen y sus lámparas?', 2],
  ['它是什么时候建的？', '灯塔在哪里？', 2],
  ['Was kostet eine Messinglampe im Hafen von Erlen?', 'Und sonst?', 1],
])('"%s" is looked up as what it is in its language', (text, previous, lookups) => {
  expect(lookupsOf(text, previous)).toHaveLength(lookups)
})

test('of a long message the end counts, and nothing is asked for no words', () => {
  const [lookup] = lookupsOf(`${'filler '.repeat(2_000)}What does the lamp cost?`, undefined)
  expect(lookup?.text.length).toBeLessThanOrEqual(2_000)
  expect(lookup?.words).toContain('lamp')
  expect(lookupsOf('...', undefined)).toEqual([])
})
