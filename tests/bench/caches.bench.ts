/**
 * How often what Troupe keeps in memory is there when it is asked for: a thousand people, every second with a key of their own, have
 * chats with a thousand characters, which they choose by Zipf's law, all at the same time, while characters are edited. Counted
 * is what `/metrics` says. `npm run bench -- caches`; `--people=200` takes fewer people.
 */
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL } from '../support/fake-server.ts'
import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { readHere } from '../support/read-here.ts'
import { sampleCard } from '../support/samples.ts'

interface Row {
  name: string
  value: number
  unit: 'ms' | 'times' | ''
  least?: number
}

const EMBEDDER = { name: 'fake-embed', contextTokens: 4_096, capabilities: ['embedding'] }
const CHARACTERS = 1_000
const PEOPLE = 1_000
/** As many as in a chat of some minutes. */
const TURNS = 8
const QUESTIONS = 1_000
const AT_ONCE = 16
const IMPORTED_AT_ONCE = 100
/** More than 20 a minute, at any speed that a machine may have. */
const TURNS_BETWEEN_EDITS = 100
const LEAST_PERCENT = 80

interface Chat {
  model: string
  key: string
  /** Whom Open WebUI speaks for; undefined for who has a key. */
  person?: string
}

export async function measure(options: readonly string[]): Promise<{ title: string; rows: Row[] }> {
  const wish = options.find((option) => option.startsWith('--people='))
  const people = wish === undefined ? PEOPLE : Number(wish.slice('--people='.length))
  const server = await openFakeOpenAi({ models: [FAKE_MODEL, EMBEDDER] })
  const troupe = await open(server)
  try {
    const cast = await importCast(troupe)
    await addKnowledge(troupe, cast)
    const draw = createDraw()
    const chats: Chat[] = []
    for (let number = 0; number < people; number++)
      chats.push({ model: cast[zipf(draw, CHARACTERS)] ?? '', ...(await whoAsks(troupe, number)) })
    const before = await readCounts(troupe)
    await talk(troupe, chats, cast, draw)
    const after = await readCounts(troupe)
    return {
      title: `Share of what was asked for and was there, ${String(people * TURNS)} turns of ${String(people)} people with ${String(CHARACTERS)} characters`,
      rows: [...after].map(([cache, counts]) => {
        const hits = counts.hit - (before.get(cache)?.hit ?? 0)
        const misses = counts.miss - (before.get(cache)?.miss ?? 0)
        return {
          name: `${cache}, in %`,
          value: (100 * hits) / (hits + misses),
          unit: '',
          least: LEAST_PERCENT,
        }
      }),
    }
  } finally {
    await troupe.close()
    await server.close()
  }
}

const open = (server: FakeOpenAi) =>
  openTestApp(
    {
      OPENAI_API_BASE_URLS: server.url,
      DEFAULT_MODEL: FAKE_MODEL.name,
      EMBEDDING_MODEL: EMBEDDER.name,
      OPENWEBUI_URL: 'http://127.0.0.1:9',
      OPENWEBUI_JWT_SECRET: JWT_SECRET,
      TROUPE_CALLS_PER_SECOND: '0',
      TROUPE_LOOKUP_MS: '5000',
    },
    { readDocument: readHere },
  )

async function api<T>(troupe: TestApp, method: string, where: string, body?: unknown): Promise<T> {
  const answer = await troupe.request(method, `/troupe/api${where}`, body === undefined ? {} : { body })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${method} ${where}: ${String(answer.status)} ${text}`)
  return (text === '' ? null : JSON.parse(text)) as T
}

async function importCast(troupe: TestApp): Promise<string[]> {
  const cast: string[] = []
  for (let from = 0; from < CHARACTERS; from += IMPORTED_AT_ONCE) {
    const form = new FormData()
    for (let number = from; number < from + IMPORTED_AT_ONCE; number++)
      form.append('files', new Blob([JSON.stringify(cardOf(number))]), `keeper-${String(number)}.json`)
    const { results } = await api<{ results: { id: string }[] }>(troupe, 'POST', '/characters/import', form)
    cast.push(...results.map(({ id }) => id))
  }
  return cast
}

/** The card and its lorebook speak of who asks, so that a prefix serves one person only. */
const cardOf = (number: number) => ({
  spec: 'chara_card_v3',
  spec_version: '3.0',
  data: sampleCard({
    name: `Keeper ${String(number)}`,
    description: `Keeps harbour ${String(number)} with {{user}}.`,
    character_book: {
      extensions: {},
      entries: Array.from({ length: 5 }, (_, at) => ({
        ...{ keys: [`word${String(at)}`], content: `Light ${String(at)} of harbour ${String(number)}.` },
        ...{ enabled: true, insertion_order: at, use_regex: false, extensions: {} },
      })),
    },
  }),
})

/** One base for all, so that each question is looked up. */
async function addKnowledge(troupe: TestApp, cast: readonly string[]): Promise<void> {
  const wish = { name: 'Harbours', characterIds: cast, settings: { wholeBase: 'never' } }
  const { id } = await api<{ id: string }>(troupe, 'POST', '/knowledge/bases', wish)
  const form = new FormData()
  form.append('files', new Blob(['# Harbours\n\nThe lamp of every harbour is lit before dusk.']), 'lamps.md')
  const { results } = await api<{ results: { id: string }[] }>(
    troupe,
    'POST',
    `/knowledge/bases/${id}/documents`,
    form,
  )
  const document = results[0]?.id ?? ''
  for (;;) {
    const { state } = await api<{ state: string }>(troupe, 'GET', `/knowledge/documents/${document}`)
    if (state === 'ready') return
    if (state === 'failed') throw new Error('The document could not be read')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function whoAsks(troupe: TestApp, number: number): Promise<Omit<Chat, 'model'>> {
  const person = `person-${String(number)}`
  if (number % 2 === 0) return { key: CONNECTION_KEY, person }
  const wish = { name: person, scopes: ['chat'] }
  const { secret } = await api<{ secret: string }>(troupe, 'POST', '/keys', wish)
  return { key: secret }
}

/** Every chat has its first turn, then every chat its second, and so on: the worst order for what is kept. */
async function talk(troupe: TestApp, chats: readonly Chat[], cast: readonly string[], draw: () => number) {
  const turns = Array.from({ length: TURNS }, () => chats).flat()
  let next = 0
  const worker = async () => {
    for (;;) {
      const at = next++
      const chat = turns[at]
      if (chat === undefined) return
      if (at % TURNS_BETWEEN_EDITS === 0) await edit(troupe, cast[zipf(draw, CHARACTERS)] ?? '', at)
      const content = `Is lamp ${String(zipf(draw, QUESTIONS))} of the harbour lit?`
      const answer = await troupe.request('POST', '/v1/chat/completions', {
        key: chat.key,
        ...(chat.person !== undefined && {
          headers: { 'x-openwebui-user-jwt': await userToken(chat.person) },
        }),
        body: { model: chat.model, messages: [{ role: 'user', content }] },
      })
      const text = await answer.text()
      if (!answer.ok) throw new Error(`A turn was answered ${String(answer.status)}: ${text}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}

async function edit(troupe: TestApp, id: string, at: number): Promise<void> {
  const { card: before } = await api<{ card: object }>(troupe, 'GET', `/characters/${id}`)
  const card = { ...before, personality: `Of edit ${String(at)}.` }
  await api(troupe, 'PATCH', `/characters/${id}`, { card, publish: true })
}

const COUNT = /^troupe_cache_requests_total\{cache="(\w+)",result="(hit|miss)"\} (\d+)$/gm

async function readCounts(troupe: TestApp): Promise<Map<string, { hit: number; miss: number }>> {
  const text = await (await troupe.request('GET', '/metrics')).text()
  const counts = new Map<string, { hit: number; miss: number }>()
  for (const [, cache = '', result, count] of text.matchAll(COUNT)) {
    const known = counts.get(cache) ?? { hit: 0, miss: 0 }
    known[result === 'hit' ? 'hit' : 'miss'] = Number(count)
    counts.set(cache, known)
  }
  return counts
}

/** Without dice: a generator whose numbers are the same each time. Source: Numerical Recipes, the "quick" linear one. */
function createDraw(): () => number {
  let state = 7
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const weights = new Map<number, { each: number[]; sum: number }>()

/** The place of one of `most`: the second is drawn half as often as the first, the third a third. */
function zipf(draw: () => number, most: number): number {
  const known = weights.get(most) ?? weigh(most)
  weights.set(most, known)
  let left = draw() * known.sum
  return Math.max(
    0,
    known.each.findIndex((weight) => (left -= weight) <= 0),
  )
}

function weigh(most: number): { each: number[]; sum: number } {
  const each = Array.from({ length: most }, (_, at) => 1 / (at + 1))
  return { each, sum: each.reduce((sum, weight) => sum + weight, 0) }
}
