/**
 * Words in PostgreSQL. Its own ranking does not know how rare a word is (0.36 instead of 0.39 nDCG@10 on Cranfield), so it
 * chooses candidates only, and those are ranked by BM25 from the counts that are kept beside.
 */
import type pg from 'pg'

import { AppError } from '#base/errors.ts'

import { HITS_WITH_WORDS, NOTHING_FOUND, type LexicalHit, type LexicalIndex } from './lexical.ts'
import { scopeWord, type Scope } from './scope.ts'
import { indexWords } from './words.mjs'

/** As SQLite's FTS5 has them. */
const K1 = 1.2
const B = 0.75
const CANDIDATES = 200
/** In a large base, a word in more than this share of the pieces chooses nobody while there are rarer ones. */
const COMMON_SHARE = 0.5
const LARGE = 2_000
/** PostgreSQL's bounds of a `tsvector`. */
const LAST_POSITION = 16_383
const MOST_POSITIONS = 256
/** As in `vectors.postgres.ts`. */
const TABLE_LOCK = 7_218_033

const TABLES = `
  select pg_advisory_xact_lock(${String(TABLE_LOCK)});
  create table if not exists troupe_words (
    id integer primary key, scope text not null, document text not null, length integer not null, words tsvector not null);
  create index if not exists troupe_words_words on troupe_words using gin (words);
  create index if not exists troupe_words_scope on troupe_words (scope);
  create index if not exists troupe_words_document on troupe_words (document);
  create table if not exists troupe_word_counts (
    scope text not null, word text not null, pieces integer not null, primary key (scope, word));
  create table if not exists troupe_word_scopes (
    scope text primary key, pieces integer not null, words bigint not null);`

/** Takes rows out together with what they counted for; the condition is put in. */
const removing = (condition: string) => `
  with gone as (delete from troupe_words where ${condition} returning scope, length, words),
  per_word as (
    select scope, lexeme as word, count(*)::int as pieces from gone, unnest(words) group by scope, lexeme),
  per_scope as (select scope, count(*)::int as pieces, sum(length) as words from gone group by scope),
  less_words as (
    update troupe_word_counts c set pieces = c.pieces - p.pieces from per_word p where c.scope = p.scope and c.word = p.word)
  update troupe_word_scopes s set pieces = s.pieces - p.pieces, words = s.words - p.words
  from per_scope p where s.scope = p.scope`

const ADDING = `
  with given as (
    select * from unnest($2::int[], $3::text[], $4::int[], $5::text[]) as t (id, document, length, words)),
  added as (
    insert into troupe_words (id, scope, document, length, words)
    select id, $1, document, length, words::tsvector from given returning words, length),
  more_words as (
    insert into troupe_word_counts (scope, word, pieces)
    select $1, lexeme, count(*)::int from added, unnest(words) group by lexeme order by lexeme
    on conflict (scope, word) do update set pieces = troupe_word_counts.pieces + excluded.pieces)
  insert into troupe_word_scopes (scope, pieces, words)
  select $1, count(*)::int, coalesce(sum(length), 0) from added
  on conflict (scope) do update set
    pieces = troupe_word_scopes.pieces + excluded.pieces, words = troupe_word_scopes.words + excluded.words`

const CHOOSING = `
  select c.id, c.length,
    (select json_object_agg(lexeme, cardinality(positions)) from unnest(c.words) where lexeme = any($3)) as has
  from (
    select id, length, words from troupe_words where words @@ $1::tsquery
    order by ts_rank(words, $2::tsquery, 1) desc, id limit ${String(CANDIDATES)}) c`

const gone = (cause: unknown) =>
  new AppError('unavailable', 'The words in PostgreSQL cannot be searched; check that it runs', { cause })

/** The text form of a `tsvector`. The words are letters, marks and digits, so nothing in them needs escaping. */
function vectorOf(words: readonly string[]): string {
  const positions = new Map<string, number[]>()
  for (const [index, word] of words.entries()) {
    const known = positions.get(word) ?? []
    if (known.length < MOST_POSITIONS) known.push(Math.min(index + 1, LAST_POSITION))
    positions.set(word, known)
  }
  return [...positions].map(([word, at]) => `'${word}':${at.join(',')}`).join(' ')
}

const anyOf = (words: readonly string[]) => words.map((word) => `'${word}'`).join(' | ')

interface Candidate {
  id: number
  length: number
  /** How often it has each asked word. */
  has: Record<string, number> | null
}

/** Makes its tables when they are missing. The pool stays the caller's. */
export async function openPostgresLexicalIndex(pool: pg.Pool): Promise<LexicalIndex> {
  async function run(sql: string, values: readonly unknown[] = []): Promise<unknown[]> {
    const { rows } = await pool.query(sql, [...values]).catch((cause: unknown) => {
      throw gone(cause)
    })
    return rows as unknown[]
  }

  /** Several statements in one transaction. */
  async function together(steps: readonly [sql: string, values: readonly unknown[]][]): Promise<void> {
    const client = await pool.connect().catch((cause: unknown) => {
      throw gone(cause)
    })
    try {
      await client.query('begin')
      for (const [sql, values] of steps) await client.query(sql, [...values])
      await client.query('commit')
    } catch (cause) {
      await client.query('rollback').catch(() => undefined)
      throw gone(cause)
    } finally {
      client.release()
    }
  }

  async function statistics(scopes: readonly string[], words: readonly string[]) {
    const [counts, sums] = await Promise.all([
      run(
        'select word, sum(pieces)::int as pieces from troupe_word_counts where scope = any($1) and word = any($2) group by word',
        [scopes, words],
      ),
      run(
        'select coalesce(sum(pieces), 0)::int as pieces, coalesce(sum(words), 0)::float as words from troupe_word_scopes where scope = any($1)',
        [scopes],
      ),
    ])
    const byWord = new Map(
      (counts as { word: string; pieces: number }[]).map((row) => [row.word, row.pieces]),
    )
    const { pieces, words: length } = sums[0] as { pieces: number; words: number }
    return {
      total: pieces,
      averageLength: pieces === 0 ? 1 : length / pieces,
      counts: words.map((word) => byWord.get(word) ?? 0),
    }
  }

  await run(TABLES)
  return {
    kind: 'postgres',
    async put(scope: Scope, entries) {
      if (entries.length === 0) return
      const words = entries.map(({ header, text }) => indexWords(`${header}\n${text}`))
      const name = scopeWord(scope)
      const columns = [
        entries.map(({ id }) => id),
        entries.map(({ documentId }) => documentId),
        words.map(({ length }) => length),
        words.map((of) => `'${name}' ${vectorOf(of)}`),
      ]
      await together([
        [removing('id = any($1)'), [columns[0]]],
        [ADDING, [name, ...columns]],
      ])
    },
    removeDocument: (documentId) => together([[removing('document = $1'), [documentId]]]),
    removeScope: (scope) =>
      together([
        ['delete from troupe_words where scope = $1', [scopeWord(scope)]],
        ['delete from troupe_word_counts where scope = $1', [scopeWord(scope)]],
        ['delete from troupe_word_scopes where scope = $1', [scopeWord(scope)]],
      ]),
    async search({ scopes, words, limit }) {
      if (scopes.length === 0 || words.length === 0) return NOTHING_FOUND
      const names = scopes.map(scopeWord)
      const { total, averageLength, counts } = await statistics(names, words)
      const there = words.filter((_, index) => (counts[index] ?? 0) > 0)
      if (there.length === 0) return { hits: [], counts, total }
      const rare = words.filter((_, index) => {
        const count = counts[index] ?? 0
        return count > 0 && (total < LARGE || count <= total * COMMON_SHARE)
      })
      const choosing = anyOf(rare.length > 0 ? rare : there)
      const rows = await run(CHOOSING, [`(${anyOf(names)}) & (${choosing})`, choosing, there])
      const rarity = words.map((_, index) => inverseFrequency(counts[index] ?? 0, total))
      const ranked = (rows as Candidate[])
        .map((row) => ({ row, score: bm25(row, { words, rarity, averageLength }) }))
        .sort((a, b) => b.score - a.score || a.row.id - b.row.id)
        .slice(0, limit)
      const hits = ranked.map(({ row, score }, place): LexicalHit => {
        if (place >= HITS_WITH_WORDS) return { id: row.id, score }
        return {
          id: row.id,
          score,
          has: [...words.keys()].filter(
            (index) => words[index] !== undefined && (row.has?.[words[index]] ?? 0) > 0,
          ),
        }
      })
      return { hits, counts, total }
    },
    async count(scope) {
      const rows = await run('select count(*)::int as count from troupe_words where scope = $1', [
        scopeWord(scope),
      ])
      return (rows[0] as { count: number }).count
    },
    async ping() {
      await run('select 1')
    },
    close: () => Promise.resolve(),
  }
}

/** Robertson's, kept above zero as FTS5 does. */
const inverseFrequency = (count: number, total: number) =>
  Math.max(1e-6, Math.log((total - count + 0.5) / (count + 0.5)))

function bm25(
  { length, has }: Candidate,
  on: { words: readonly string[]; rarity: readonly number[]; averageLength: number },
): number {
  const norm = K1 * (1 - B + (B * length) / on.averageLength)
  return on.words.reduce((sum, word, index) => {
    const times = has?.[word] ?? 0
    return sum + ((on.rarity[index] ?? 0) * times * (K1 + 1)) / (times + norm)
  }, 0)
}
