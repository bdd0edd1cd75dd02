/** Every route that changes something leaves its row in the audit, or is named here with the reason why not. */
import { afterAll, beforeAll, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { isRole } from '#gateway/roles.ts'
import type { readInChild } from '#rag/read-in-child.ts'

import { AREAS } from '../../sidecar/src/http/areas.ts'
import { pathOf } from '../../sidecar/src/http/openapi.ts'
import { ADMIN_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../support/fake-open-webui.ts'
import { sampleCard } from '../support/samples.ts'
import { zipOf } from '../support/zip.ts'

/** Paths behind `/troupe/api`. */
const WITHOUT_A_ROW: Readonly<Record<string, string>> = {
  'post /lorebooks/test': 'changes nothing',
  'post /lorebooks/lint': 'changes nothing',
  'post /knowledge/test': 'changes nothing',
  'post /prompt/preview': 'changes nothing',
  'post /knowledge/exams/:base/run': 'keeps its score alone, with the time',
  'post /analytics/ratings': 'a figure about an answer, with its source',
  'post /session': 'a person signs in for themselves; the log has it',
  'delete /session': 'a person signs out for themselves',
  'delete /privacy/people/:id': 'its signed receipt is the record, and says who asked',
  'post /models/pull': 'its row is written before the model server is asked',
  'post /models': 'needs a real Ollama; tests/http/models.test.ts',
  'post /knowledge/bases/:id/rebuild': 'needs documents cut another way; tests/contract/knowledge.ts',
  'post /knowledge/documents/:id/retry': 'needs a failed document; tests/contract/knowledge.ts',
  'patch /knowledge/chunks/:id': 'needs a read document; tests/contract/knowledge.ts',
}

const routes = AREAS.flatMap(({ prefix, operations }) =>
  operations
    .filter(({ method, may }) => method !== 'get' && (may === 'anyone' || isRole(may)))
    .map(({ method, path, audit }) => ({
      name: `${method} ${pathOf(prefix, path).replace('/troupe/api', '')}`,
      audit,
    })),
)

let openWebUi: FakeOpenWebUi
let troupe: TestApp
/** A document stays at work until somebody stops it. */
const untilStopped: typeof readInChild = (_document, { signal }) =>
  new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => {
      reject(new AppError('cancelled', 'Stopped'))
    })
  })

beforeAll(async () => {
  openWebUi = await openFakeOpenWebUi()
  troupe = await openTestApp(
    { OPENWEBUI_URL: openWebUi.url, OPENWEBUI_API_KEY: openWebUi.adminKey, OLLAMA_BASE_URL: '' },
    { readDocument: untilStopped },
  )
})
afterAll(async () => {
  await troupe.close()
  await openWebUi.close()
})

const audit = async () => {
  const answer = await troupe.request('GET', '/troupe/api/audit?limit=500')
  return ((await answer.json()) as { events: { action: string; target: string; detail: object }[] }).events
}

async function send<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await troupe.request(
    method.toUpperCase(),
    `/troupe/api${path}`,
    body === undefined ? {} : { body },
  )
  const text = await answer.text()
  expect(answer.ok, `${method} ${path}: ${text}`).toBe(true)
  return (text.startsWith('{') ? JSON.parse(text) : undefined) as T
}

const fileOf = (content: string, name: string) => {
  const form = new FormData()
  form.append('files', new Blob([content]), name)
  return form
}
const card = (name: string) =>
  JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name }) })
const BOOK = { extensions: {}, entries: [] }

test('every route that changes something leaves its row, or is named with the reason why not', async () => {
  const seen = new Set<string>()
  /** Sends it, and wants one row more. */
  async function does<T>(name: string, path: string, body?: unknown): Promise<T> {
    const before = (await audit()).length
    const answer = await send<T>(name.split(' ')[0] ?? '', path, body)
    expect((await audit()).length, `${name} left no row in the audit`).toBeGreaterThan(before)
    seen.add(name)
    return answer
  }

  await does('post /characters/import', '/characters/import', fileOf(card('Mira'), 'mira.json'))
  await does('patch /characters/:id', '/characters/mira', { card: { scenario: 'Calm.' } })
  await does('post /characters/:id/publish', '/characters/mira/publish', { version: 2 })
  await does('post /characters/:id/rollback', '/characters/mira/rollback', {})
  await does('post /characters/:id/unpublish', '/characters/mira/unpublish')
  await does('delete /characters/:id', '/characters/mira')
  await does('post /characters/:id/restore', '/characters/mira/restore')

  await does('post /lorebooks', '/lorebooks', { name: 'Realm', book: BOOK })
  const world = JSON.stringify({ entries: { 0: { key: ['sea'], content: 'Deep.' } } })
  await does('post /lorebooks/import', '/lorebooks/import', fileOf(world, 'sea.json'))
  await does('patch /lorebooks/:id', '/lorebooks/realm', { characterIds: ['mira'] })
  await does('delete /lorebooks/:id', '/lorebooks/realm')

  const { id: base } = await does<{ id: string }>('post /knowledge/bases', '/knowledge/bases', {
    name: 'Law',
  })
  await does('patch /knowledge/bases/:id', `/knowledge/bases/${base}`, { name: 'Laws' })
  const { results } = await does<{ results: { id: string }[] }>(
    'post /knowledge/bases/:id/documents',
    `/knowledge/bases/${base}/documents`,
    fileOf('Paragraph one.', 'law.txt'),
  )
  const document = results[0]?.id ?? ''
  await does('post /knowledge/documents/:id/stop', `/knowledge/documents/${document}/stop`)
  await does('delete /knowledge/documents/:id', `/knowledge/documents/${document}`)
  await does(
    'post /knowledge/characters/:id/documents',
    '/knowledge/characters/mira/documents',
    fileOf('Her own words.', 'own.txt'),
  )
  const { id: question } = await does<{ id: string }>(
    'post /knowledge/exams/:base',
    '/knowledge/exams/mira',
    {
      ...{ question: 'What does it say?', quote: 'Her own words.', document: 'own.txt' },
    },
  )
  await does('delete /knowledge/exams/:base/:question', `/knowledge/exams/mira/${question}`)
  await does('delete /knowledge/bases/:id', `/knowledge/bases/${base}`)
  await does('post /knowledge/bases/:id/restore', `/knowledge/bases/${base}/restore`)
  await does('post /knowledge/index', '/knowledge/index', {})
  await does('delete /knowledge/index', '/knowledge/index')

  const { id: key } = await does<{ id: string }>('post /keys', '/keys', { name: 'Shop', scopes: ['chat'] })
  await does('patch /keys/:id', `/keys/${key}`, { name: 'Corner shop' })
  const { id: next } = await does<{ id: string }>('post /keys/:id/rotate', `/keys/${key}/rotate`, {})
  await does('delete /keys/:id', `/keys/${next}`)
  await does('put /roles/:person', '/roles/person-1', { role: 'viewer' })
  await does('delete /roles/:person', '/roles/person-1')
  await does('delete /session/of/:person', '/session/of/person-1')
  await does('post /privacy/people/:id/objection', '/privacy/people/person-1/objection')
  await does('delete /privacy/people/:id/objection', '/privacy/people/person-1/objection')
  await does('post /privacy/pseudonyms/rotate', '/privacy/pseudonyms/rotate')
  await does('post /privacy/fields/reseal', '/privacy/fields/reseal')
  await does('post /openwebui/sync', '/openwebui/sync', { dryRun: true })
  const { id: hook } = await does<{ id: string }>('post /webhooks', '/webhooks', {
    ...{ name: 'Door', url: 'https://example.com/hook' },
  })
  await does('patch /webhooks/:id', `/webhooks/${hook}`, { isActive: false })
  await does('delete /webhooks/:id', `/webhooks/${hook}`)

  // What is declared in the table is written for every route in the same way.
  const missing = routes.filter(({ name, audit: declared }) => !seen.has(name) && declared === undefined)
  expect(missing.map(({ name }) => name).filter((name) => !(name in WITHOUT_A_ROW))).toEqual([])
  const names = new Set(routes.map(({ name }) => name))
  expect([...Object.keys(WITHOUT_A_ROW), ...seen].filter((name) => !names.has(name))).toEqual([])
  // Nobody who objected is named.
  expect(
    JSON.stringify((await audit()).filter(({ action }) => /objection|sessions/.test(action))),
  ).not.toContain('person-1')
})

test('an import that is begun, stopped and gone on with, and the library read out, are in the audit', async () => {
  const archive = zipOf([{ name: 'ada.json', content: card('Ada') }])
  const answer = await fetch(`${troupe.url}/troupe/api/imports?name=all.zip`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    body: new Uint8Array(archive),
  })
  const { id } = (await answer.json()) as { id: string }
  await send('post', `/imports/${id}/stop`)
  await send('post', `/imports/${id}/resume`)
  await send('get', '/library/archive')
  await expect
    .poll(async () => (await audit()).slice(0, 6).map(({ action, target }) => `${action} ${target}`))
    .toEqual(
      expect.arrayContaining([
        'import_start the imports',
        `import_stop import ${id}`,
        `import_resume import ${id}`,
        'archive_export the library',
      ]) as string[],
    )
  expect((await audit()).find(({ action }) => action === 'import_start')?.detail).toEqual({
    import: id,
    files: 1,
  })
})

test('a page that is asked for by no cursor of ours is refused', async () => {
  const answer = await troupe.request('GET', '/troupe/api/audit?cursor=bogus')
  expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param: 'cursor' } }])
})

test('what was refused leaves no row', async () => {
  const before = await audit()
  for (const path of ['/imports/nobody/stop', '/knowledge/documents/nobody/stop', '/webhooks/nobody/test'])
    expect((await troupe.request('POST', `/troupe/api${path}`, { body: {} })).ok).toBe(false)
  expect(await audit()).toEqual(before)
})
