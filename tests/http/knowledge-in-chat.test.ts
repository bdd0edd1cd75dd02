/** What a turn looks up, what of it reaches the model, and what is told of it afterwards. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { runCli } from '#cli/run.ts'
import type { KnowledgeDocument } from '#knowledge/knowledge.ts'

import { freePort } from '../../scripts/setup/ports.mjs'
import { ADMIN_KEY, CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL } from '../support/fake-server.ts'
import { INJECTED } from '../support/injected-documents.ts'
import { readHere } from '../support/read-here.ts'

const EMBEDDER = { name: 'fake-embed', contextTokens: 4_096, capabilities: ['embedding'] }
/** The turn's deadline is not what these tests are about, and the machine may be busy. */
const PATIENT = { TROUPE_LOOKUP_MS: '5000' }

interface RecordOfCall {
  passages: number | null
  passageHits: { document: string; chunk: string; score: number; isUsed: boolean }[]
  anatomy: {
    knowledge?: {
      store: string | null
      gate: { passes: boolean; reason: string } | null
      notes: { code: string; what: string }[]
      pieces: { chunk: number; document: string; words: number | null; fate: string }[]
      milliseconds: { total: number }
    }
  }
}

let server: FakeOpenAi

beforeAll(async () => {
  server = await openFakeOpenAi({ models: [FAKE_MODEL, EMBEDDER] })
})
afterAll(() => server.close())

const open = (env: Record<string, string> = {}) =>
  openTestApp(
    { OPENAI_API_BASE_URLS: server.url, DEFAULT_MODEL: FAKE_MODEL.name, ...PATIENT, ...env },
    { readDocument: readHere },
  )

async function api<T>(on: TestApp, method: string, where: string, body?: unknown): Promise<T> {
  const answer = await on.request(method, `/troupe/api${where}`, body === undefined ? {} : { body })
  const text = await answer.text()
  expect(answer.ok, text).toBe(true)
  return (text === '' ? null : JSON.parse(text)) as T
}

/** A base that is searched, with one document that is ready. */
async function addBase(on: TestApp, wish: { name: string; characterIds?: string[] }, text: string) {
  const body = { ...wish, settings: { wholeBase: 'never' } }
  const base = await api<{ id: string }>(on, 'POST', '/knowledge/bases', body)
  const form = new FormData()
  form.append('files', new Blob([text]), `${base.id}.md`)
  const { results } = await api<{ results: { id: string }[] }>(
    on,
    'POST',
    `/knowledge/bases/${base.id}/documents`,
    form,
  )
  for (;;) {
    const document = await api<KnowledgeDocument>(on, 'GET', `/knowledge/documents/${results[0]?.id ?? ''}`)
    if (!['waiting', 'parsing', 'embedding'].includes(document.state)) {
      expect(document.state, document.failure?.message).toBe('ready')
      return { baseId: base.id, documentId: document.id }
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Answers with the request's id, and the whole prompt that the model was sent. */
async function ask(on: TestApp, model: string, content: string) {
  const body = { model, messages: [{ role: 'user', content }], stream: true }
  const answer = await on.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
  const said = await answer.text()
  expect([answer.status, said.includes('"error"')], said).toEqual([200, false])
  const id = answer.headers.get('x-request-id') ?? ''
  return { id, prompt: JSON.stringify(server.chats().at(-1)?.body['messages']) }
}

async function askedAndRecorded(...of: Parameters<typeof ask>) {
  const { id, prompt } = await ask(...of)
  return { prompt, record: await api<RecordOfCall>(of[0], 'GET', `/requests/${id}`) }
}

const LAMPS = '# Lamps\n\nThe brass lamps of Skerry Point cost three coins.'

describe('a response', () => {
  test('tells its sources to a client that asks for them, whole and streamed', async () => {
    const troupe = await open()
    const mira = await troupe.importCard({ name: 'Mira' })
    await addBase(troupe, { name: 'Shop', characterIds: [mira] }, LAMPS)
    const body = { model: mira, input: 'What do the brass lamps of Skerry Point cost?' }
    const respond = async (over: object) => {
      const answer = await troupe.request('POST', '/v1/responses', {
        key: CONNECTION_KEY,
        body: { ...body, ...over },
      })
      return await answer.text()
    }
    const asked = { troupe: { sources: true } }
    expect(JSON.parse(await respond(asked))).toMatchObject({
      output: [{ type: 'message' }],
      sources: [{ document: [expect.stringContaining('three coins') as string] }],
    })
    const [beforeWords, words] = (await respond({ ...asked, stream: true })).split(
      'response.output_text.delta',
    )
    expect(beforeWords).toContain('three coins')
    expect(words).toBeDefined()
    expect(await respond({})).not.toContain('three coins')
    await troupe.close()
  })
})

describe('the record of a turn', () => {
  test('names the passages with their scores, the gate and the times, and has not a word of them', async () => {
    const troupe = await open()
    const mira = await troupe.importCard({ name: 'Mira' })
    const { documentId } = await addBase(troupe, { name: 'Shop', characterIds: [mira] }, LAMPS)
    const { record, prompt } = await askedAndRecorded(
      troupe,
      mira,
      'What do the brass lamps of Skerry Point cost?',
    )
    expect(prompt).toContain('cost three coins')
    expect(record.passages).toBe(1)
    expect(record.passageHits).toMatchObject([{ document: documentId, isUsed: true }])
    expect(record.anatomy.knowledge).toMatchObject({
      store: 'sqlite',
      gate: { passes: true, reason: 'words' },
      notes: [],
      pieces: [{ document: documentId, words: expect.any(Number) as number, fate: 'used' }],
      milliseconds: { total: expect.any(Number) as number },
    })
    expect(JSON.stringify(record.anatomy.knowledge)).not.toMatch(/lamp|skerry|coin/i)

    const hello = await askedAndRecorded(troupe, mira, 'Hello there!')
    expect(hello.record.passageHits).toEqual([])
    expect(hello.record.anatomy.knowledge).toMatchObject({ gate: { passes: false } })
    await troupe.close()
  })

  test('says when Chroma is away, and words answer', async () => {
    const chroma = `http://127.0.0.1:${String(await freePort())}`
    const troupe = await open({ EMBEDDING_MODEL: EMBEDDER.name, CHROMA_URL: chroma })
    const mira = await troupe.importCard({ name: 'Mira' })
    await addBase(troupe, { name: 'Shop', characterIds: [mira] }, LAMPS)
    const { record, prompt } = await askedAndRecorded(
      troupe,
      mira,
      'What do the brass lamps of Skerry Point cost?',
    )
    expect(prompt).toContain('cost three coins')
    expect(record.anatomy.knowledge).toMatchObject({
      store: 'chroma',
      notes: [{ code: 'unavailable', what: 'meaning' }],
    })
    expect(JSON.stringify(record)).not.toContain(chroma)
    await troupe.close()
  })
})

test('a base that was read by a model answers by words alone when no model is set any more', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-without-model-'))
  const before = await open({ TROUPE_DATA_DIR: dataDir, EMBEDDING_MODEL: EMBEDDER.name })
  const { baseId } = await addBase(before, { name: 'Shop' }, LAMPS)
  const searchedBy = async (on: TestApp) =>
    (await api<{ searchedBy: string }>(on, 'GET', `/knowledge/bases/${baseId}`)).searchedBy
  await expect.poll(() => searchedBy(before)).toBe('words and meaning')
  const question = 'What do the brass lamps of Skerry Point cost?'
  await api(before, 'POST', `/knowledge/exams/${baseId}`, {
    ...{ question, quote: 'cost three coins', document: 'shop.md' },
  })
  const run = (on: TestApp) => api(on, 'POST', `/knowledge/exams/${baseId}/run`)
  expect(await run(before)).toMatchObject({ hitRate: 1, fingerprint: expect.any(String) as string })
  await before.close()

  const after = await open({ TROUPE_DATA_DIR: dataDir })
  expect(await searchedBy(after)).toBe('words')
  expect(await run(after)).toMatchObject({ hitRate: 1, unanswered: 0, fingerprint: null })
  expect(
    await api(after, 'POST', '/knowledge/test', { question, bases: [baseId] }),
    'nothing is missing where words alone are meant to answer',
  ).toMatchObject({ passages: [{ similarity: null }], trace: { notes: [] } })
  await after.close()

  const again = await open({ TROUPE_DATA_DIR: dataDir, EMBEDDING_MODEL: EMBEDDER.name })
  expect(await searchedBy(again)).toBe('words and meaning')
  await again.close()
  await rm(dataDir, { recursive: true, force: true })
})

test('trying a question shows what plugins bring for it, behind the documents, as the chat does', async () => {
  const plugin = path.resolve('tests/fixtures/plugins/functions.mjs')
  const troupe = await open({ PLUGINS: plugin })
  const card = { name: 'Tessa', extensions: { troupe: { sources: ['tides'] } } }
  const tessa = await troupe.importCard(card)
  const question = 'What do the brass lamps of Skerry Point cost?'
  const brought = { documentName: 'Tides', text: `Tides for ${question}`, score: null, page: null }
  const trying = () => api(troupe, 'POST', '/knowledge/test', { question, character: tessa })
  expect(await trying()).toMatchObject({ passages: [brought], trace: { bases: [] } })
  const { prompt } = await ask(troupe, tessa, question)
  expect(prompt).toContain(`Tides for ${question}`)

  await addBase(troupe, { name: 'Shop', characterIds: [tessa] }, LAMPS)
  expect(await trying()).toMatchObject({
    passages: [{ documentName: 'shop.md', score: 1 }, brought],
    trace: { bases: ['shop'] },
  })
  let said = ''
  const out = new Writable({
    write(chunk: Buffer, _encoding, done) {
      said += chunk.toString()
      done()
    },
  })
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  expect(await runCli(['knowledge', 'test', tessa, question], { env, out, err: out })).toBe(0)
  expect(said).toMatch(/words alone {2}shop\.md\n.*\nby a plugin {2}Tides\n/)
  await troupe.close()
})

test('the loader of a plugin fills no base that is not there', async () => {
  const troupe = await open({ PLUGINS: path.resolve('tests/fixtures/plugins/functions.mjs') })
  const loaded = await troupe.request('POST', '/troupe/api/knowledge/loaders/log', {
    body: { base: 'nobase' },
  })
  expect([loaded.status, await loaded.text()]).toEqual([
    404,
    expect.stringContaining('There is no knowledge base'),
  ])
  await troupe.close()
})

test('a document never reaches a character that its base is not given to, however bases move', async () => {
  const troupe = await open({ EMBEDDING_MODEL: EMBEDDER.name })
  const characters = [
    await troupe.importCard({ name: 'Anna' }),
    await troupe.importCard({ name: 'Boris' }),
  ] as const
  const markers = ['ZZMARKERONE', 'ZZMARKERTWO', 'ZZMARKERTHREE'] as const
  const bases: string[] = []
  for (const marker of markers)
    bases.push(
      (await addBase(troupe, { name: marker }, `# Lamps\n\nThe brass lamp ${marker} costs coins.`)).baseId,
    )
  let seen = 0
  const attached = fc.uniqueArray(fc.constantFrom(...characters), { maxLength: 2 })
  const moves = fc.array(
    fc.record({
      base: fc.nat({ max: markers.length - 1 }),
      attached,
      asker: fc.constantFrom(...characters),
      question: fc
        .constantFrom(...markers, 'brass', 'coins')
        .map((word) => `What does the ${word} lamp cost?`),
    }),
    { minLength: 4, maxLength: 6 },
  )
  await fc.assert(
    fc.asyncProperty(moves, async (steps) => {
      const given: (readonly string[])[] = markers.map(() => [])
      for (const id of bases) await api(troupe, 'PATCH', `/knowledge/bases/${id}`, { characterIds: [] })
      for (const { base, attached: characterIds, asker, question } of steps) {
        given[base] = characterIds
        await api(troupe, 'PATCH', `/knowledge/bases/${bases[base] ?? ''}`, { characterIds })
        const { prompt } = await ask(troupe, asker, question)
        // The question itself may hold a marker.
        const told = prompt.replaceAll(question, '')
        for (const [at, marker] of markers.entries()) {
          if (told.includes(marker)) seen++
          if (given[at]?.includes(asker) !== true) expect(told).not.toContain(marker)
        }
      }
    }),
    { numRuns: 6 },
  )
  expect(seen, 'passages that did reach their character').toBeGreaterThan(3)
  await troupe.close()
}, 60_000)

test('the room shown for a character counts its documents: searched ones as what they may take, whole ones as they are', async () => {
  const on = await open()
  await on.importCard({ name: 'Bare' })
  interface Room {
    parts: Record<string, number>
    passageTokens: number
    personaTokens: number
    historyTokens: number
  }
  const room = () => api<Room>(on, 'GET', '/prompt/room?character=bare')
  const bare = await room()
  expect(bare.passageTokens).toBe(0)
  const { baseId } = await addBase(
    on,
    { name: 'Tides', characterIds: ['bare'] },
    'The tide turns at nine. '.repeat(20),
  )
  const searched = await room()
  expect(searched.passageTokens).toBeGreaterThan(100)
  expect(searched.parts).toEqual(bare.parts)
  await api(on, 'PATCH', `/knowledge/bases/${baseId}`, { settings: { wholeBase: 'auto' } })
  const whole = await room()
  expect(whole.passageTokens).toBe(0)
  expect(whole.personaTokens).toBeGreaterThan(bare.personaTokens + 80)
  expect(whole.historyTokens).toBeLessThan(bare.historyTokens - 80)
  await on.close()
})

test('documents that speak to the model change nothing of the prompt of another character, nor who speaks in that of their own', async () => {
  const troupe = await open()
  const mira = await troupe.importCard({ name: 'Mira' })
  const benno = await troupe.importCard({ name: 'Benno' })
  await addBase(troupe, { name: 'Shop', characterIds: [mira] }, LAMPS)
  const question = 'When does the ferry leave, and what do the brass lamps cost?'
  const rolesOf = (prompt: string) => (JSON.parse(prompt) as { role: string }[]).map(({ role }) => role)
  const before = await ask(troupe, mira, question)
  const unharmed = await ask(troupe, benno, question)
  const harbour = await addBase(
    troupe,
    { name: 'Harbour', characterIds: [benno] },
    '# Harbour\n\nOpen at six.',
  )
  for (const { name, text } of INJECTED) {
    const form = new FormData()
    form.append('files', new Blob([text]), name)
    await api(troupe, 'POST', `/knowledge/bases/${harbour.baseId}/documents`, form)
  }
  await expect
    .poll(
      async () =>
        (await api<{ documents: { ready?: number } }>(troupe, 'GET', `/knowledge/bases/${harbour.baseId}`))
          .documents.ready,
      { timeout: 30_000 },
    )
    .toBe(INJECTED.length + 1)
  const poisoned = await ask(troupe, benno, question)
  expect(poisoned.prompt).toContain('The ferry leaves at seven')
  expect(rolesOf(poisoned.prompt)).toEqual(rolesOf(unharmed.prompt))
  expect((await ask(troupe, mira, question)).prompt).toBe(before.prompt)
  await troupe.close()
}, 60_000)
