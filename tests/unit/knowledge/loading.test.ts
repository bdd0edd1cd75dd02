import { expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import type { KnowledgeBase } from '#knowledge/knowledge.ts'
import { createLoading, type GuestLoader } from '#knowledge/loading.ts'

const by = { actor: 'admin' }

function open(loaders: Record<string, GuestLoader>) {
  const files: { base: string; name: string; text: string }[] = []
  const loading = createLoading({
    loaders: new Map(Object.entries(loaders)),
    bases: {
      kept: (id) =>
        id === 'harbour'
          ? Promise.resolve({ id } as KnowledgeBase)
          : Promise.reject(new AppError('not_found', `There is no knowledge base "${id}"`)),
    },
    documents: {
      async add(base, { name, bytes }) {
        const parts: Uint8Array[] = []
        for await (const part of bytes) parts.push(part)
        files.push({ base, name, text: Buffer.concat(parts).toString() })
        return { file: name, status: 'created', notes: [] }
      },
    },
  })
  return { loading, files }
}

test('every document becomes a file of the base, named by its source', async () => {
  const { loading, files } = open({
    wiki: () =>
      Promise.resolve([
        { pageContent: 'Oil.', metadata: { source: 'https://wiki.example/Oil?x=1', title: 'Oil' } },
        { pageContent: 'Wind.', metadata: {} },
        { pageContent: 'Up.', metadata: { source: '../../etc/passwd' } },
      ]),
  })
  expect(loading.names).toEqual(['wiki'])
  expect(await loading.load('harbour', 'wiki', by)).toHaveLength(3)
  expect(files).toEqual([
    { base: 'harbour', name: 'wiki/https-wiki.example-Oil-x=1.md', text: '# Oil\n\nOil.' },
    { base: 'harbour', name: 'wiki/2.md', text: 'Wind.' },
    { base: 'harbour', name: 'wiki/etc-passwd.md', text: 'Up.' },
  ])
})

test.each<[string, GuestLoader, string]>([
  ['fails', () => Promise.reject(new Error('secret text')), 'unavailable'],
  ['gives something else', () => Promise.resolve([{ text: 'x' }]), 'invalid'],
])('one that %s adds nothing and is told by name alone', async (_, loader, code) => {
  const { loading, files } = open({ wiki: loader })
  const failure = await loading.load('harbour', 'wiki', by).catch((thrown: unknown) => thrown)
  expect(failure).toMatchObject({ code })
  expect(String(failure)).not.toContain('secret')
  expect(files).toEqual([])
})

test('an unknown one is told with those that there are', async () => {
  await expect(open({ wiki: () => Promise.resolve([]) }).loading.load('harbour', 'web', by)).rejects.toThrow(
    /wiki/,
  )
  await expect(open({}).loading.load('harbour', 'web', by)).rejects.toThrow(/PLUGINS/)
})

test('is not asked for a base that is not there', async () => {
  let asked = 0
  const { loading } = open({ wiki: () => Promise.resolve([{ pageContent: String(++asked) }]) })
  await expect(loading.load('nobase', 'wiki', by)).rejects.toMatchObject({ code: 'not_found' })
  expect(asked).toBe(0)
})
