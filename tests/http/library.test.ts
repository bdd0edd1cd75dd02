import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { ADMIN_KEY, CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { sampleCard, sampleEntry } from '../support/samples.ts'
import { zipOf } from '../support/zip.ts'

let server: FakeOpenAi
let troupe: TestApp

beforeAll(async () => {
  server = await openFakeOpenAi()
  troupe = await openTestApp({ OPENAI_API_BASE_URLS: server.url })
})
afterAll(async () => {
  await troupe.close()
  await server.close()
})

const cardFile = (over: Parameters<typeof sampleCard>[0]) =>
  new Blob([JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard(over) })])

async function importFiles(...files: [Blob, string][]) {
  const form = new FormData()
  for (const [blob, name] of files) form.append('files', blob, name)
  const answer = await troupe.request('POST', '/troupe/api/characters/import', { body: form })
  return { status: answer.status, ...((await answer.json()) as { results: Record<string, unknown>[] }) }
}

/** Sends a body of so many bytes over a socket of its own, whatever comes back meanwhile; then what came back. */
async function sendAll(route: string, bytes: number, key: string): Promise<string> {
  const { hostname, port } = new URL(troupe.url)
  const socket = connect(Number(port), hostname).setEncoding('latin1')
  // What it means, the writing of each piece says.
  socket.on('error', () => undefined)
  let answer = ''
  socket.on('data', (text: string) => (answer += text))
  socket.write(
    `POST ${route} HTTP/1.1\r\nhost: troupe\r\nauthorization: Bearer ${key}\r\n` +
      `content-type: multipart/form-data; boundary=x\r\ncontent-length: ${String(bytes)}\r\n\r\n`,
  )
  const piece = Buffer.alloc(4 * 1024 * 1024, 'a')
  for (let left = bytes; left > 0; left -= piece.length) {
    await new Promise<void>((resolve, reject) => {
      socket.write(left < piece.length ? piece.subarray(0, left) : piece, (error) =>
        error ? reject(error) : resolve(),
      )
    })
  }
  await vi.waitUntil(() => answer.endsWith('}'), 10_000)
  socket.destroy()
  return answer
}

test.each([
  ['/troupe/api/characters/import', 413, () => ADMIN_KEY],
  ['/troupe/api/characters/import', 401, () => 'nobody'],
  ['/v1/chat/completions', 413, () => CONNECTION_KEY],
])('who sends far too much to %s reads why it is refused with %i', async (route, status, key) => {
  const answer = await sendAll(route, 80 * 1024 * 1024, key())
  expect(answer).toContain(`HTTP/1.1 ${String(status)} `)
  expect(answer).toContain('"error":')
})

describe('pictures that a card only names', () => {
  test('are not fetched, and no picture is served that was not encoded anew', async () => {
    const asked: string[] = []
    const trap = createServer((request, response) => {
      asked.push(String(request.url))
      response.end()
    })
    const url = await new Promise<string>((resolve) => {
      trap.listen(0, '127.0.0.1', () => {
        resolve(`http://127.0.0.1:${String((trap.address() as AddressInfo).port)}`)
      })
    })
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script><image href="${url}/svg.png"/></svg>`
    const icon = (uri: string) => ({ type: 'icon', uri, name: 'main', ext: 'png' })
    const remote = cardFile({
      name: 'Remote',
      assets: [icon(`${url}/a.png`)],
      creator_notes: `A calm keeper. ![](${url}/b.png)`,
    })
    const inline = cardFile({ name: 'Inline', assets: [icon(`data:image/svg+xml,${svg}`)] })
    const packed = zipOf([
      {
        name: 'card.json',
        content: await cardFile({ name: 'Packed', assets: [icon('embeded://x.png')] }).text(),
      },
      { name: 'x.png', content: svg },
    ])
    const { results } = await importFiles(
      [remote, 'remote.json'],
      [inline, 'inline.json'],
      [new Blob([new Uint8Array(packed)]), 'packed.charx'],
    )
    expect(results.map(({ status }) => status)).toEqual(['created', 'created', 'created'])
    const served = []
    for (const { id } of results) {
      const answer = await troupe.request('GET', `/troupe/api/characters/${String(id)}`)
      const { pictureHash } = (await answer.json()) as { pictureHash: string | null }
      if (pictureHash === null) continue
      const picture = await troupe.request('GET', `/troupe/api/pictures/${pictureHash}`)
      served.push(picture.headers.get('content-type'))
      expect(await picture.text()).not.toContain('<svg')
    }
    // The drawing in the archive, as pixels.
    expect(served).toEqual(['image/webp'])
    await new Promise((resolve) => trap.close(resolve))
    expect(asked).toEqual([])
  })
})

describe('import', () => {
  test('answers for each file; a bad one stops nothing', async () => {
    const { status, results } = await importFiles(
      [cardFile({ name: 'First' }), 'first.json'],
      [new Blob(['no card']), 'broken.json'],
      [cardFile({ name: 'Second' }), 'second.json'],
    )
    expect(status).toBe(200)
    expect(results.map(({ file, status, id }) => [file, status, id])).toEqual([
      ['first.json', 'created', 'first'],
      ['broken.json', 'failed', undefined],
      ['second.json', 'created', 'second'],
    ])
    expect(results[1]?.['notes']).not.toHaveLength(0)
  })

  test('the same file again is skipped, another card of the same name is a second character', async () => {
    await importFiles([cardFile({ name: 'Twin' }), 'twin.json'])
    const { results } = await importFiles(
      [cardFile({ name: 'Twin' }), 'again.json'],
      [cardFile({ name: 'Twin', scenario: 'Other' }), 'other.json'],
    )
    expect(results).toMatchObject([
      { status: 'skipped', id: 'twin' },
      { status: 'created', id: 'twin-2' },
    ])
  })

  test('without a file is refused with the field', async () => {
    const answer = await troupe.request('POST', '/troupe/api/characters/import', { body: new FormData() })
    expect(answer.status).toBe(400)
  })
})

describe('a character', () => {
  test('is a model for clients as soon as it is imported, with no word of its prompt in the list', async () => {
    await importFiles([
      cardFile({ name: 'Listed', creator_notes: 'A calm keeper. More below.' }),
      'listed.json',
    ])
    const answer = await troupe.request('GET', '/v1/models', { key: CONNECTION_KEY })
    const { data } = (await answer.json()) as { data: Record<string, unknown>[] }
    expect(data.find(({ id }) => id === 'listed')).toMatchObject({
      object: 'model',
      name: 'Listed',
      tags: [{ name: 'Companion' }],
    })
    expect(JSON.stringify(data)).not.toContain('lighthouse')
    expect((await troupe.request('GET', '/v1/models/listed', { key: CONNECTION_KEY })).status).toBe(200)
    expect((await troupe.request('GET', '/v1/models/nobody', { key: CONNECTION_KEY })).status).toBe(404)
  })

  test('gets a second version from an edited export of itself, and can be rolled back', async () => {
    await importFiles([
      cardFile({ name: 'Versioned', extensions: { troupe: { id: 'versioned' } } }),
      'a.json',
    ])
    const { results } = await importFiles([
      cardFile({ name: 'Versioned', scenario: 'New.', extensions: { troupe: { id: 'versioned' } } }),
      'b.json',
    ])
    expect(results).toMatchObject([{ status: 'updated', id: 'versioned' }])
    const rolledBack = await troupe.request('POST', '/troupe/api/characters/versioned/rollback', {
      body: { version: 1 },
    })
    expect(await rolledBack.json()).toMatchObject({ publishedVersion: 1, latestVersion: 2 })
    const exported = await troupe.request('GET', '/troupe/api/characters/versioned/export?format=json')
    expect(await exported.json()).toMatchObject({
      spec: 'chara_card_v3',
      data: { scenario: 'A storm is coming.' },
    })
    const versions = await troupe.request('GET', '/troupe/api/characters/versioned/versions')
    expect(await versions.json()).toMatchObject({ versions: [{ number: 1 }, { number: 2 }] })
  })

  test('can be deleted, is then gone for everybody, and comes back out of the trash', async () => {
    await importFiles([cardFile({ name: 'Leaving' }), 'leaving.json'])
    const model = () => troupe.request('GET', '/v1/models/leaving', { key: CONNECTION_KEY })
    expect((await troupe.request('DELETE', '/troupe/api/characters/leaving')).status).toBe(204)
    expect((await model()).status).toBe(404)
    const trash = await troupe.request('GET', '/troupe/api/characters?state=trash')
    expect(await trash.json()).toMatchObject({ characters: [{ id: 'leaving' }] })
    expect((await troupe.request('POST', '/troupe/api/characters/leaving/restore')).status).toBe(200)
    expect((await model()).status).toBe(200)
    const forever = await troupe.request('DELETE', '/troupe/api/characters/leaving?forever=true')
    expect(forever.status).toBe(204)
    expect((await troupe.request('GET', '/troupe/api/characters/leaving')).status).toBe(404)
  })

  test('is edited as a draft, compared, published with a note, rolled back, and every step is in the audit', async () => {
    await importFiles([cardFile({ name: 'Edited' }), 'edited.json'])
    const at = (path: string) => `/troupe/api/characters/edited${path}`
    const edited = await troupe.request('PATCH', at(''), {
      body: { card: { scenario: 'Calm.' }, note: 'quieter', baseVersion: 1 },
    })
    expect(await edited.json()).toMatchObject({ publishedVersion: 1, latestVersion: 2 })
    const stale = await troupe.request('PATCH', at(''), { body: { card: { scenario: 'x' }, baseVersion: 1 } })
    expect(stale.status).toBe(409)
    const diff = await troupe.request('GET', at('/diff?from=1&to=2'))
    expect(await diff.json()).toMatchObject({ differences: [{ path: 'scenario', after: 'Calm.' }] })
    await troupe.request('POST', at('/publish'), { body: { version: 2, note: 'for the club' } })
    expect(await (await troupe.request('GET', at(''))).json()).toMatchObject({
      publishedVersion: 2,
      card: { scenario: 'Calm.' },
    })
    expect(await (await troupe.request('POST', at('/rollback'))).json()).toMatchObject({
      publishedVersion: 1,
    })
    await troupe.request('POST', at('/unpublish'))
    expect((await troupe.request('GET', '/v1/models/edited', { key: CONNECTION_KEY })).status).toBe(404)
    const audit = await troupe.request('GET', '/troupe/api/audit?target=edited')
    const { events } = (await audit.json()) as { events: { action: string; actor: string }[] }
    expect(events.map(({ action }) => action)).toEqual([
      ...['unpublish', 'rollback', 'publish', 'edit', 'import'],
    ])
    expect(new Set(events.map(({ actor }) => actor))).toEqual(new Set(['admin']))
  })

  test.each([
    ['PATCH', '', { card: { tags: 1 } }, 'card.tags'],
    ['PATCH', '', { colour: 'red' }, 'body'],
    ['POST', '/publish', { version: 'x' }, 'version'],
    ['GET', '/diff?from=1', undefined, 'to'],
    ['GET', '/export?format=docx', undefined, 'format'],
  ])('%s %s with %j names the field that is wrong', async (method, path, body, param) => {
    await importFiles([cardFile({ name: 'Wrong' }), 'wrong.json'])
    const answer = await troupe.request(method, `/troupe/api/characters/wrong${path}`, { body })
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ error: { param } })
  })
})

test('the preview shows parts, messages, what is read again and every entry, without calling a model', async () => {
  const book = {
    extensions: {},
    entries: [
      sampleEntry({ constant: false, keys: ['hello'], name: 'greeted' }),
      sampleEntry({ constant: false, keys: ['reef'], name: 'silent' }),
    ],
  }
  await importFiles([cardFile({ name: 'Shown', character_book: book }), 'shown.json'])
  const before = server.chats().length
  const answer = await troupe.request('POST', '/troupe/api/prompt/preview', {
    body: { model: 'shown', messages: [{ role: 'user', content: 'Hello' }] },
  })
  const { prompt, baseModel } = (await answer.json()) as {
    prompt: { parts: { kind: string }[]; messages: unknown[]; rereadTokens: number; lore: unknown[] }
    baseModel: string
  }
  expect(baseModel).toBe('fake:1b')
  expect(prompt.parts.map((part) => part.kind)).toContain('persona')
  expect(prompt.messages).toHaveLength(2)
  expect(prompt.rereadTokens).toBeGreaterThan(0)
  expect(prompt.lore).toMatchObject([
    { label: 'greeted', isActive: true, reason: '"hello" in the newest message' },
    { label: 'silent', isActive: false, reason: 'no key was found' },
  ])
  expect(server.chats()).toHaveLength(before)
})

test('a draft is previewed as it would be, answers nobody, and in the trash is not there', async () => {
  await importFiles([cardFile({ name: 'Drafted' }), 'drafted.json'])
  await troupe.request('POST', '/troupe/api/characters/drafted/unpublish')
  await troupe.request('PATCH', '/troupe/api/characters/drafted', {
    body: { card: { scenario: 'A calm.' } },
  })
  const body = { model: 'drafted', messages: [{ role: 'user', content: 'Hello' }] }
  const looked = await troupe.request('POST', '/troupe/api/prompt/preview', { body })
  expect(looked.status).toBe(200)
  expect(await looked.text()).toContain('A calm.')
  const asked = await troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
  expect(asked.status).toBe(404)
  await troupe.request('DELETE', '/troupe/api/characters/drafted')
  expect((await troupe.request('POST', '/troupe/api/prompt/preview', { body })).status).toBe(404)
})

test('a lorebook beside the card is called up in its chats, and in no others', async () => {
  await importFiles([cardFile({ name: 'Has' }), 'has.json'], [cardFile({ name: 'Not' }), 'not.json'])
  const entry = {
    ...{ keys: ['reef'], content: 'Sharp rocks of the reef.', extensions: {}, enabled: true },
    ...{ insertion_order: 1, use_regex: false },
  }
  const added = await troupe.request('POST', '/troupe/api/lorebooks', {
    body: { name: 'Coast', book: { extensions: {}, entries: [entry] }, characterIds: ['has'] },
  })
  expect(added.status).toBe(201)
  const promptOf = async (model: string) => {
    const messages = [{ role: 'user', content: 'The reef?' }]
    return (await troupe.request('POST', '/troupe/api/prompt/preview', { body: { model, messages } })).text()
  }
  expect(await promptOf('has')).toContain('Sharp rocks')
  expect(await promptOf('not')).not.toContain('Sharp rocks')
  await troupe.request('PATCH', '/troupe/api/lorebooks/coast', { body: { characterIds: null } })
  expect(await promptOf('not')).toContain('Sharp rocks')
  const wrong = await troupe.request('PATCH', '/troupe/api/lorebooks/coast', {
    body: { book: { entries: 1 } },
  })
  expect(await wrong.json()).toMatchObject({ error: { param: 'book.extensions' } })
  await troupe.request('DELETE', '/troupe/api/lorebooks/coast')
  expect(await promptOf('has')).not.toContain('Sharp rocks')
})

test('a lorebook is given to characters that are there, and to nobody who gets the id of one that went', async () => {
  await importFiles([cardFile({ name: 'Stays' }), 'stays.json'], [cardFile({ name: 'Goes' }), 'goes.json'])
  const holders = async () => {
    const answer = await troupe.request('GET', '/troupe/api/lorebooks/given')
    return ((await answer.json()) as { characterIds: string[] }).characterIds
  }
  const change = (characterIds: string[]) =>
    troupe.request('PATCH', '/troupe/api/lorebooks/given', { body: { characterIds } })
  const book = { extensions: {}, entries: [] }
  const add = (characterIds: string[]) =>
    troupe.request('POST', '/troupe/api/lorebooks', { body: { name: 'Given', book, characterIds } })
  expect((await add(['nobody-here'])).status).toBe(404)
  expect((await add(['goes'])).status).toBe(201)
  expect((await change(['goes', 'stays'])).status).toBe(200)
  await troupe.request('DELETE', '/troupe/api/characters/goes')
  expect(await holders()).toEqual(['goes', 'stays'])
  await troupe.request('DELETE', '/troupe/api/characters/goes?forever=true')
  expect(await holders()).toEqual(['stays'])
  const refused = await change(['stays', 'nobody-here'])
  expect(refused.status).toBe(404)
  expect(await refused.text()).toContain('There is no character \\"nobody-here\\"')
})

test('in a test of lore the dice fall as in a chat: once, for each name of it, or where the author wants them', async () => {
  const entry = (at: number) => ({
    ...{ keys: ['reef'], content: `Line ${String(at)}.`, extensions: { probability: 50 }, enabled: true },
    ...{ insertion_order: at, use_regex: false },
  })
  const book = { extensions: {}, entries: Array.from({ length: 40 }, (_, at) => entry(at)) }
  async function active(chance: object): Promise<{ on: string[]; dice: (number | null)[] }> {
    const body = { book, messages: [{ role: 'user', content: 'The reef?' }], ...chance }
    const answer = await troupe.request('POST', '/troupe/api/lorebooks/test', { body })
    const { active, trace } = (await answer.json()) as {
      active: { text: string }[]
      trace: { dice: number | null }[]
    }
    return { on: active.map(({ text }) => text), dice: trace.map(({ dice }) => dice) }
  }
  const first = await active({})
  expect(first.on.length).toBeGreaterThan(5)
  expect(first.on.length).toBeLessThan(35)
  expect(new Set(first.dice).size).toBe(40)
  expect(await active({})).toEqual(first)
  const other = await active({ seed: 'another chat' })
  expect(other.on).not.toEqual(first.on)
  expect(await active({ seed: 'another chat' })).toEqual(other)
  expect((await active({ dice: 0 })).on).toHaveLength(40)
  expect((await active({ dice: 49.9 })).on).toHaveLength(40)
  expect((await active({ dice: 50 })).on).toEqual([])
})

test('the room of a character says what is spent before anybody speaks, and how many turns are left', async () => {
  await importFiles(
    [cardFile({ name: 'Roomy' }), 'roomy.json'],
    [
      cardFile({
        name: 'Talker',
        description: 'word '.repeat(1_000),
        extensions: { troupe: { options: { maxTokens: 99 } } },
      }),
      'talker.json',
    ],
  )
  await importFiles([cardFile({ name: 'Teller', extensions: { troupe: { summary: true } } }), 'teller.json'])
  const roomOf = async (query: string) => {
    const answer = await troupe.request('GET', `/troupe/api/prompt/room?${query}`)
    return { status: answer.status, ...((await answer.json()) as Record<string, number>) } as Record<
      string,
      number
    >
  }
  const [roomy, talker] = [await roomOf('character=roomy'), await roomOf('character=talker')]
  expect(talker['replyTokens']).toBe(99)
  expect((talker['personaTokens'] ?? 0) - (roomy['personaTokens'] ?? 0)).toBeGreaterThan(900)
  expect(talker['turns']).toBeGreaterThan(0)
  expect(roomy['personaTokens']).toBeGreaterThan(50)
  const previewed = await troupe.request('POST', '/troupe/api/prompt/preview', {
    body: { model: 'teller', messages: [{ role: 'user', content: 'Hello' }] },
  })
  const { prompt } = (await previewed.json()) as { prompt: { budget: { historyTokens: number } } }
  const teller = await roomOf('character=teller')
  expect(teller['historyTokens']).toBeLessThan(roomy['historyTokens'] ?? 0)
  expect(teller['historyTokens']).toBe(prompt.budget.historyTokens)
  expect(await roomOf('character=nobody')).toMatchObject({ status: 404 })
  expect(await roomOf('character=roomy&model=nothing')).toMatchObject({ status: 404 })
})

describe('an archive of cards', () => {
  test('is read in the background, and tells of each file', async () => {
    const body = zipOf([
      { name: 'x.json', content: await cardFile({ name: 'From Archive' }).text() },
      { name: 'y.json', content: '[]' },
    ])
    const send = (bytes: Buffer) =>
      fetch(`${troupe.url}/troupe/api/imports?name=two.zip`, {
        method: 'POST',
        headers: { authorization: `Bearer ${ADMIN_KEY}` },
        body: new Uint8Array(bytes),
      })
    const begun = await send(body)
    expect(begun.status).toBe(202)
    const { id } = (await begun.json()) as { id: string }
    const job = async () =>
      (await (await troupe.request('GET', `/troupe/api/imports/${id}`)).json()) as unknown
    await expect.poll(job).toMatchObject({ state: 'done', counts: { created: 1, failed: 1 } })
    const results = await troupe.request('GET', `/troupe/api/imports/${id}/results?status=created`)
    expect(await results.json()).toMatchObject({ results: [{ file: 'x.json', id: 'from-archive' }] })
    expect((await send(Buffer.from('no zip'))).status).toBe(400)
    expect((await troupe.request('GET', '/troupe/api/imports/nothing')).status).toBe(404)
  })

  test('holds the whole library when it leaves', async () => {
    const answer = await troupe.request('GET', '/troupe/api/library/archive')
    expect(answer.headers.get('content-type')).toBe('application/zip')
    const bytes = Buffer.from(await answer.arrayBuffer())
    expect(bytes.subarray(0, 2).toString()).toBe('PK')
    expect(bytes.includes('characters/first.json')).toBe(true)
  })
})

test('a persona of the person arrives in the prompt, and goes to no model server as it came', async () => {
  await importFiles([cardFile({ name: 'Meets' }), 'meets.json'])
  const messages = [{ role: 'user', content: 'Hello' }]
  const preview = await troupe.request('POST', '/troupe/api/prompt/preview', {
    body: { model: 'meets', messages, troupe: { persona: 'A botanist.' } },
  })
  expect(await preview.text()).toContain('A botanist.')
  const body = { model: 'meets', messages, troupe: { persona: 'A botanist.' } }
  await troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
  expect(server.chats().at(-1)?.body).not.toHaveProperty('troupe')
  expect(JSON.stringify(server.chats().at(-1)?.body)).toContain('A botanist.')
  const long = { model: 'meets', messages, troupe: { persona: 'x'.repeat(4_001) } }
  const refused = await troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body: long })
  expect(await refused.json()).toMatchObject({ error: { param: 'troupe.persona' } })
})

describe('keys', () => {
  test('a new key works at once with its scopes only, is shown once, and dies when revoked', async () => {
    const made = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: 'club', scopes: ['models'] },
    })
    expect(made.status).toBe(201)
    const { id, secret } = (await made.json()) as { id: string; secret: string }
    expect((await troupe.request('GET', '/v1/models', { key: secret })).status).toBe(200)
    expect((await troupe.request('POST', '/v1/chat/completions', { key: secret, body: {} })).status).toBe(403)
    const list = await troupe.request('GET', '/troupe/api/keys')
    expect(await list.text()).not.toContain(secret)
    expect((await troupe.request('DELETE', `/troupe/api/keys/${id}`)).status).toBe(204)
    expect((await troupe.request('GET', '/v1/models', { key: secret })).status).toBe(401)
  })
})

test('who tries keys is slowed down; a right key still works', async () => {
  const own = await openTestApp()
  const statuses: number[] = []
  for (let at = 0; at < 22; at++)
    statuses.push((await own.request('GET', '/v1/models', { key: 'wrong' })).status)
  expect(statuses.slice(18)).toEqual([401, 401, 429, 429])
  const limited = await own.request('GET', '/v1/models', { key: 'wrong' })
  expect(limited.headers.get('retry-after')).toBe('60')
  expect((await own.request('GET', '/v1/models', { key: CONNECTION_KEY })).status).toBe(200)
  await own.close()
})

describe('probes', () => {
  test('monitors of uptime get one word', async () => {
    for (const path of ['/health', '/v1/health']) {
      const answer = await troupe.request('GET', path, { key: null })
      expect([answer.status, await answer.json()]).toEqual([200, { status: 'ok' }])
    }
  })

  test('livez, readyz and metrics answer without a key on loopback', async () => {
    expect((await troupe.request('GET', '/livez', { key: null })).status).toBe(200)
    const ready = await troupe.request('GET', '/readyz', { key: null })
    expect(ready.status).toBe(200)
    expect(await ready.json()).toMatchObject({
      status: 'ready',
      checks: { characters: { ok: true }, analytics: { ok: true } },
    })
    const metrics = await troupe.request('GET', '/metrics', { key: null })
    expect(await metrics.text()).toContain('troupe_model_calls_total')
  })

  test('through a proxy only who has a key learns how things stand', async () => {
    const made = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: 'monitor', scopes: ['metrics'] },
    })
    const { secret } = (await made.json()) as { secret: string }
    const headers = { 'x-forwarded-for': '192.0.2.1' }
    const ready = async (key: string | null) => {
      const answer = await troupe.request('GET', '/readyz', { key, headers })
      return [answer.status, Object.keys((await answer.json()) as object)]
    }
    expect(await ready(null)).toEqual([200, ['status']])
    expect(await ready(secret)).toEqual([200, ['status', 'checks']])
    expect(await ready('wrong')).toEqual([401, ['error']])
  })

  test('an unknown path is a JSON error', async () => {
    const answer = await troupe.request('GET', '/v1/nothing')
    expect(answer.status).toBe(404)
    expect(await answer.json()).toMatchObject({ error: { code: 'not_found' } })
  })

  test('a visitor who is not signed in is told where to do that', async () => {
    const own = await openTestApp({ OPENWEBUI_URL: 'http://127.0.0.1:9' })
    const answer = await own.request('GET', '/troupe/api/session', { key: null })
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({
      error: { type: 'authentication_error' },
      openWebUiUrl: 'http://127.0.0.1:9',
    })
    await own.close()
  })

  test('a change by login from a foreign site is refused', async () => {
    const answer = await troupe.request('DELETE', '/troupe/api/characters/first', {
      key: null,
      headers: { cookie: 'token=abc', origin: 'https://evil.example' },
    })
    expect([401, 403]).toContain(answer.status)
  })
})
