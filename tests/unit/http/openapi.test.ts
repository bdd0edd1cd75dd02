import { readFile } from 'node:fs/promises'

import { expect, test } from 'vitest'

import { AREAS } from '../../../sidecar/src/http/areas.ts'
import { describeApi } from '../../../sidecar/src/http/openapi.ts'
import { doors } from '../../../sidecar/src/http/routes.ts'

interface Document {
  paths: Record<string, Record<string, { parameters?: { name: string; required: boolean }[] }>>
}
const document = JSON.parse(JSON.stringify(describeApi(AREAS))) as Document

/** What is served, in the words of OpenAPI; pages and what is no route of its own are left out. */
function served(): string[] {
  const { app, generation } = doors({} as Parameters<typeof doors>[0])
  const calls = app.routes
    .filter(
      ({ method, path }) =>
        method !== 'ALL' && (!path.startsWith('/troupe') || path.startsWith('/troupe/api/')),
    )
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')}`)
  return [...new Set([...calls, ...generation.paths.map((path) => `POST ${path}`)])].sort()
}

test('every route has its description, and every description its route', () => {
  const described = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(described.sort()).toEqual(served())
})

test('a query tells what must be given', () => {
  const { parameters } = document.paths['/troupe/api/characters/{id}/diff']?.['get'] ?? {}
  expect(parameters?.map(({ name, required }) => [name, required])).toEqual([
    ['id', true],
    ['from', true],
    ['to', true],
  ])
})

test('docs/openapi.json is this document; `npm run openapi` writes it', async () => {
  expect(JSON.parse(await readFile('docs/openapi.json', 'utf8'))).toEqual(document)
})
