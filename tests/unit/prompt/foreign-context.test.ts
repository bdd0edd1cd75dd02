import { expect, test } from 'vitest'

import { foreignContext } from '#prompt/foreign-context.ts'

import { assistant, system, user } from '../../support/samples.ts'

/** As Open WebUI 0.12 sends it when a file is attached. */
const TEMPLATE = `### Task:
Respond to the user query using the provided context, incorporating inline citations in the format [id].

<context>
<source id="1" name="log.txt" resource-type="file" resource-id="f1">Rain at noon.</source>
<source id="1" name="log.txt" resource-type="file" resource-id="f1">Wind at night.</source>
<source id="2" name="tides.pdf" resource-type="file" resource-id="f2">High at six.</source>
</context>

When was the rain?`

test('the words of the person are told from what Open WebUI put around them, and its sources are counted by their labels', () => {
  const { words, labels, text } = foreignContext([user('Hi'), assistant('Yes?'), user(TEMPLATE)])
  expect(words).toBe('When was the rain?')
  expect([...labels]).toEqual(['log.txt', 'tides.pdf'])
  expect(text).toContain('Wind at night.')
})

test('its passages may stand in the system message, with the words clean', () => {
  const context = TEMPLATE.slice(TEMPLATE.indexOf('<context>'), TEMPLATE.indexOf('</context>') + 10)
  const { words, labels } = foreignContext([system(context), user('When was the rain?')])
  expect(words).toBe('When was the rain?')
  expect(labels.size).toBe(2)
})

test.each([
  'When was the rain?',
  'What does <context> mean in a prompt, and </context>?',
  '</context> <context>',
  '<context>an open end',
  '',
])('%j is what a person said', (said) => {
  expect(foreignContext([user(said)])).toEqual({ words: said.trim(), labels: new Set(), text: '' })
})
