import { expect, test } from 'vitest'

import { offerTools } from '#prompt/tools.ts'

const tool = (name: string, parameters: object = {}, description = '') => ({
  name,
  spec: { type: 'function', function: { name, description, parameters } },
})
const WHOLE = { tools: undefined, toolSchemas: 'whole' as const }

test('tools stand in one order, whatever the client sends, and are counted', () => {
  const [a, b, c] = [tool('a'), tool('b'), tool('c')]
  const offered = offerTools([c, a, b], WHOLE)
  expect(offered.tools.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  expect(offered).toEqual(offerTools([b, c, a], WHOLE))
  expect(offered.parts.map(({ kind, label, dropped }) => [kind, label, dropped])).toEqual([
    ['tools', 'a', false],
    ['tools', 'b', false],
    ['tools', 'c', false],
  ])
  for (const { tokens, text } of offered.parts) expect(tokens).toBeGreaterThan(text.length / 5)
})

test('a character uses only the tools that it may, and the list says which were left out', () => {
  const offered = offerTools([tool('a'), tool('b')], { ...WHOLE, tools: ['b', 'x'] })
  expect(offered.tools.map(({ name }) => name)).toEqual(['b'])
  expect(offered.parts.map(({ label, dropped }) => [label, dropped])).toEqual([
    ['a', true],
    ['b', false],
  ])
  expect(offerTools([tool('a')], { ...WHOLE, tools: [] }).tools).toEqual([])
})

test('short schemas lose what only people read, and keep what the model must know', () => {
  const long = `Where the lamp stands. ${'It may be far away. '.repeat(20)}`
  const parameters = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Lamp',
    type: 'object',
    properties: {
      title: { type: 'string', title: 'Title', description: long, examples: ['x'] },
      kind: { enum: ['oil', 'gas'], default: 'oil' },
    },
    required: ['title'],
  }
  const [short] = offerTools([tool('lamp', parameters, long)], { ...WHOLE, toolSchemas: 'short' }).tools
  expect(short?.spec).toEqual({
    type: 'function',
    function: {
      name: 'lamp',
      description: 'Where the lamp stands.',
      parameters: {
        type: 'object',
        properties: {
          title: { type: 'string', description: 'Where the lamp stands.' },
          kind: { enum: ['oil', 'gas'], default: 'oil' },
        },
        required: ['title'],
      },
    },
  })
})
