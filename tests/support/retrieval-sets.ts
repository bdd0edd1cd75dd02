/**
 * Sets with judgements of what is relevant, and the usual measures. They belong to others and are not copied here: they are
 * read from the folder that RETRIEVAL_DATA names, or from `../shared/data/retrieval`.
 */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { z } from 'zod'

const DIR = process.env['RETRIEVAL_DATA'] ?? path.join(import.meta.dirname, '../../../shared/data/retrieval')

export const hasSet = (name: 'cranfield' | 'xquad' | 'chunking') => existsSync(path.join(DIR, name))

const read = (...names: string[]) => readFileSync(path.join(DIR, ...names), 'utf8')

export interface SetDocument {
  id: string
  title: string
  text: string
}

export interface SetQuery {
  text: string
  /** Ids of documents. */
  relevant: ReadonlySet<string>
}

export interface RetrievalSet {
  documents: readonly SetDocument[]
  queries: readonly SetQuery[]
}

/** 1,400 abstracts; the number of a query is its position. */
export function readCranfield(): RetrievalSet {
  const field = (xml: string, name: string) =>
    new RegExp(`<${name}>([\\s\\S]*?)</${name}>`).exec(xml)?.[1]?.trim() ?? ''
  const documents = [...read('cranfield', 'cran.all.1400.xml').matchAll(/<doc>([\s\S]*?)<\/doc>/g)].map(
    ([, xml = '']) => ({ id: field(xml, 'docno'), title: field(xml, 'title'), text: field(xml, 'text') }),
  )
  const relevant = new Map<string, Set<string>>()
  for (const line of read('cranfield', 'cranqrel.trec.txt').split('\n')) {
    const [query = '', , document = '', grade] = line.trim().split(/\s+/)
    if (Number(grade) > 0) relevant.set(query, (relevant.get(query) ?? new Set()).add(document))
  }
  const texts = [...read('cranfield', 'cran.qry.xml').matchAll(/<title>([\s\S]*?)<\/title>/g)]
  const queries = texts.flatMap(([, text = ''], index) => {
    const of = relevant.get(String(index + 1))
    return of === undefined ? [] : [{ text: text.trim(), relevant: of }]
  })
  return { documents, queries }
}

const Xquad = z.object({
  data: z.array(
    z.object({
      title: z.string(),
      paragraphs: z.array(
        z.object({ context: z.string(), qas: z.array(z.object({ question: z.string() })) }),
      ),
    }),
  ),
})

/** 240 paragraphs of an encyclopedia, 1,190 questions. */
export function readXquad(language: 'en' | 'zh' | 'th'): RetrievalSet {
  const { data } = Xquad.parse(JSON.parse(read('xquad', `xquad.${language}.json`)))
  const paragraphs = data.flatMap(({ title, paragraphs: of }) =>
    of.map((paragraph) => ({ title, ...paragraph })),
  )
  return {
    documents: paragraphs.map(({ title, context }, index) => ({ id: String(index), title, text: context })),
    queries: paragraphs.flatMap(({ qas }, index) =>
      qas.map(({ question }) => ({ text: question, relevant: new Set([String(index)]) })),
    ),
  }
}

export interface ChunkQuery {
  text: string
  corpus: string
  /** Half-open ranges of characters in the text of the corpus. */
  spans: readonly (readonly [start: number, end: number])[]
}

const References = z.array(z.object({ start_index: z.number(), end_index: z.number() }))

/** Five corpora and 472 questions with the exact places that answer them. */
export function readChunking(): { corpora: ReadonlyMap<string, string>; queries: readonly ChunkQuery[] } {
  const queries = parseCsv(read('chunking', 'questions_df.csv'))
    .slice(1)
    .map(([text = '', references = '[]', corpus = '']) => ({
      text,
      corpus,
      spans: References.parse(JSON.parse(references)).map(
        ({ start_index: start, end_index: end }) => [start, end] as const,
      ),
    }))
  const names = [...new Set(queries.map(({ corpus }) => corpus))]
  return { corpora: new Map(names.map((name) => [name, read('chunking', `${name}.md`)])), queries }
}

/** RFC 4180, as pandas writes it. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = []
  let row: string[] = []
  for (const [, quoted, plain = '', end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    row.push(quoted?.replaceAll('""', '"') ?? plain)
    if (end !== ',') {
      if (row.length > 1) rows.push(row)
      row = []
    }
  }
  return rows
}

export interface Measured {
  /** Normalised discounted cumulative gain of the first ten, relevant or not. */
  ndcg10: number
  /** Share of the queries whose first, or first four, hold something relevant. */
  hit1: number
  hit4: number
}

/** Ids best first, for each query of the set. */
export function measureRankings(
  queries: readonly SetQuery[],
  rankings: readonly (readonly string[])[],
): Measured {
  const gain = (place: number) => 1 / Math.log2(place + 2)
  const each = queries.map(({ relevant }, index) => {
    const hits = (rankings[index] ?? []).map((id) => relevant.has(id))
    const ideal = Array.from({ length: Math.min(10, relevant.size) }, (_, place) => gain(place))
    const got = hits.slice(0, 10).map((hit, place) => (hit ? gain(place) : 0))
    return { ndcg: sum(got) / sum(ideal), hit1: hits[0] === true, hit4: hits.slice(0, 4).includes(true) }
  })
  const share = (is: (one: (typeof each)[number]) => boolean) => each.filter(is).length / each.length
  return {
    ndcg10: sum(each.map(({ ndcg }) => ndcg)) / each.length,
    hit1: share(({ hit1 }) => hit1),
    hit4: share(({ hit4 }) => hit4),
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0)

/** Share of the characters that answer, of which the given ranges hold. */
export function recallOfSpans(
  spans: ChunkQuery['spans'],
  found: readonly (readonly [start: number, end: number])[],
): number {
  let wanted = 0
  let got = 0
  for (const [start, end] of spans)
    for (let at = start; at < end; at++) {
      wanted++
      if (found.some(([from, to]) => at >= from && at < to)) got++
    }
  return got / wanted
}
