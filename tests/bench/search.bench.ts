/**
 * Search in 100,000 pieces of 50 bases: `npm run bench -- search` on SQLite, `-- search --store=chroma` or `--store=pgvector` on
 * the others (minutes, to fill them). `--pieces=10000` takes fewer, `--bases=1` puts all into one. The questions' vectors are
 * given: how long a model takes to make one is not the store's.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { createLog } from '#base/log.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import type { RetrievalTrace } from '#knowledge/retrieval.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import type { Report, Row } from '../../scripts/bench.mjs'
import { startChroma } from '../../scripts/setup/chroma.mjs'
import { installPgvector } from '../../scripts/setup/pgvector.mjs'
import { chance } from '../support/chance.ts'
import { startPostgres } from '../support/postgres.ts'
import { sampleBase, sampleChunk, sampleDocument } from '../support/sample-knowledge.ts'

const DIMENSIONS = 384
const WORDS = 120
/** A language has some ten thousand words, few of which make up most of a text. */
const VOCABULARY = 20_000
const TOPICS = 500
const QUESTIONS = 300
const WARM_UPS = 30
const BATCH = 1_000

interface Engine {
  databaseUrl: string
  chromaUrl?: string
  stop(): Promise<void>
}

type Kind = 'sqlite' | 'chroma' | 'pgvector'

export async function measure(options: readonly string[]): Promise<Report> {
  const option = (name: string) =>
    options.find((each) => each.startsWith(`--${name}=`))?.slice(name.length + 3)
  const kind = (option('store') ?? 'sqlite') as Kind
  const [pieces, bases] = [Number(option('pieces') ?? 100_000), Number(option('bases') ?? 50)]
  const dir = mkdtempSync(path.join(tmpdir(), 'troupe-search-'))
  const engine = await start(kind, dir)
  const world = createWorld(pieces, bases)
  const store = await openStore(engine.databaseUrl)
  const search = await openKnowledgeSearch({
    ...{ store, dataDir: dir, deployment: 'bench', log: createLog('warn'), now: () => performance.now() },
    ...{ databaseUrl: engine.databaseUrl, chromaUrl: engine.chromaUrl },
    embed: (_model, texts) => Promise.resolve(texts.map((text) => [...world.vectorOf(text)])),
    embeddingModel: 'all-minilm',
  })
  try {
    const filledMs = await timed(() => fill({ store, search }, world))
    // As at every start: it goes on beside the turns otherwise.
    await search.calibrate(undefined, new AbortController().signal)
    const traces: RetrievalTrace[] = []
    for (let round = 0; round < WARM_UPS + QUESTIONS; round++) {
      const { text, baseId } = world.question(round)
      const { trace } = await search.retrieve({ text, baseIds: [baseId], deadlineMs: 60_000 })
      if (trace.notes.length > 0) throw new Error(JSON.stringify(trace.notes))
      traces.push(trace)
    }
    const title = `Search: ${String(pieces)} pieces in ${String(bases)} bases, ${kind}`
    return {
      title,
      rows: [{ name: 'fill', value: filledMs, unit: 'ms' }, ...rowsOf(traces.slice(WARM_UPS), kind)],
    }
  } finally {
    await search.close()
    await store.close()
    await engine.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

function rowsOf(traces: readonly RetrievalTrace[], kind: Kind): Row[] {
  const at = (of: (trace: RetrievalTrace) => number, share: number) =>
    traces.map(of).sort((a, b) => a - b)[Math.floor(share * traces.length)] ?? 0
  const legs = [
    ['words', ({ milliseconds }: RetrievalTrace) => milliseconds.words],
    ['meaning', ({ milliseconds }: RetrievalTrace) => milliseconds.meaning],
    ['both, to the passages', ({ milliseconds }: RetrievalTrace) => milliseconds.total],
  ] as const
  return legs.flatMap(([name, of]): Row[] => [
    {
      ...{ name: `${name}, p50`, value: at(of, 0.5), unit: 'ms' },
      ...(kind === 'sqlite' && name.startsWith('both') ? { most: 40, failsAt: 150 } : {}),
    },
    { name: `${name}, p99`, value: at(of, 0.99), unit: 'ms' },
  ])
}

async function start(kind: Kind, dir: string): Promise<Engine> {
  const sqlite = `file:${path.join(dir, 'troupe.sqlite')}`
  if (kind === 'sqlite') return { databaseUrl: sqlite, stop: () => Promise.resolve() }
  if (kind === 'chroma') {
    const chroma = await startChroma({
      dataDir: path.join(dir, 'chroma'),
      logFile: path.join(dir, 'chroma.log'),
    })
    return { databaseUrl: sqlite, chromaUrl: chroma.url, stop: () => chroma.stop() }
  }
  const postgres = await startPostgres(await installPgvector())
  return { databaseUrl: postgres.url, stop: () => postgres.stop() }
}

type World = ReturnType<typeof createWorld>

/** Texts and vectors that are the same each time: pieces lie around topics, as those of documents do. */
function createWorld(pieces: number, bases: number) {
  const direction = (seed: number) => {
    const numbers = chance(seed)
    return Float32Array.from({ length: DIMENSIONS }, () => numbers.next().value)
  }
  const topics = Array.from({ length: TOPICS }, (_, topic) => direction(topic + 1))
  const wordsOf = (piece: number) => {
    const numbers = chance(piece + 1_000_000)
    // Zipf: the share of a word falls with its place.
    return Array.from(
      { length: WORDS },
      () => `word${String(Math.floor(VOCABULARY ** (numbers.next().value + 0.5)))}q`,
    )
  }
  const vectorOfPiece = (piece: number) => {
    const own = direction(piece + 2_000_000)
    const topic = topics[piece % TOPICS] ?? own
    return topic.map((value, index) => value + 0.8 * (own[index] ?? 0))
  }
  return {
    pieces,
    bases,
    text: (piece: number) => `${String(piece)}. ${wordsOf(piece).join(' ')}`,
    /** Each text begins with the number of its piece; a question is near the one that it is made of. */
    vectorOf(text: string) {
      const piece = Number(/\d+/.exec(text)?.[0])
      const noise = direction(text.length)
      const isQuestion = text.startsWith('What')
      return vectorOfPiece(piece).map((value, index) => value + (isQuestion ? 0.5 * (noise[index] ?? 0) : 0))
    },
    question(round: number) {
      const piece = (round * 7_919) % pieces
      const rare = wordsOf(piece)
        .filter((word) => word.length > 7)
        .slice(0, 6)
      return { text: `What of ${String(piece)} ${rare.join(' ')}`, baseId: `base${String(piece % bases)}` }
    },
  }
}

async function fill(
  { store, search }: { store: Store; search: KnowledgeSearch },
  world: World,
): Promise<void> {
  const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
  const signal = new AbortController().signal
  for (let base = 0; base < world.bases; base++) {
    const baseId = `base${String(base)}`
    await store.db.insert(knowledgeBases).values(sampleBase(baseId))
    await store.db.insert(knowledgeDocuments).values(sampleDocument(baseId, baseId))
    const own = Array.from(
      { length: Math.ceil((world.pieces - base) / world.bases) },
      (_, at) => at * world.bases + base,
    )
    let fingerprint: string | null = null
    for (let start = 0; start < own.length; start += BATCH) {
      const rows = own
        .slice(start, start + BATCH)
        .map((piece, at) =>
          sampleChunk({ baseId, documentId: baseId, number: 2 * (start + at), text: world.text(piece) }),
        )
      const added = await store.db.insert(knowledgeChunks).values(rows).returning({ id: knowledgeChunks.id })
      const pieces = rows.map((row, at) => ({ ...row, id: added[at]?.id ?? 0, header: '' }))
      fingerprint = (await search.index.add({ baseId, generation: 1 }, pieces, { signal })).fingerprint
    }
    await store.db.update(knowledgeBases).set({ fingerprint })
  }
}

async function timed(run: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await run()
  return performance.now() - startedMs
}
