import path from 'node:path'

import { expect, test } from 'vitest'

import { loadPlugins } from '../../sidecar/src/plugins.ts'

const file = (name: string) => path.join(import.meta.dirname, '../fixtures/plugins', `${name}.mjs`)
const options = { signal: new AbortController().signal }

test('functions and objects with the methods of LangChain are taken alike', async () => {
  const { retrievers, loaders } = await loadPlugins([file('functions'), file('objects')])
  expect([...retrievers.keys()]).toEqual(['tides', 'wind'])
  expect(await retrievers.get('tides')?.('noon', options)).toMatchObject([{ pageContent: 'Tides for noon' }])
  expect(await retrievers.get('wind')?.('noon', options)).toMatchObject([{ pageContent: 'Wind' }])
  expect(await loaders.get('log')?.()).toMatchObject([{ pageContent: 'Rain.' }])
})

test.each([
  ['empty', /empty\.mjs brings nothing/],
  ['broken', /broken\.mjs does not load: no network here/],
  ['missing', /missing\.mjs does not load/],
])('one that is %s is named, with what is wrong', async (name, message) => {
  await expect(loadPlugins([file(name)])).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringMatching(message),
  })
})

test('two that bring the same name are refused', async () => {
  await expect(loadPlugins([file('functions'), file('functions')])).rejects.toThrow(/brings "tides"/)
})
