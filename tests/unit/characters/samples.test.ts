/** Every sample in one table: what was read, what had to be mended, what comes back, and whether a field got lost. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

import { expect, test } from 'vitest'

import type { Note } from '#characters/card.ts'
import { formats } from '#characters/formats/index.ts'
import { createNotebook } from '#characters/notes.ts'
import { parseCardJson } from '#characters/parse.ts'
import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'
import { writeCharx } from '#characters/write-charx.ts'

import { pngOf } from '../../support/png.ts'

const FIXTURES = path.resolve('tests/fixtures/cards')
const samples = ['own-cc0', 'mit-tavern_kit'].flatMap((folder) =>
  readdirSync(path.join(FIXTURES, folder))
    .filter((name) => !/LICENSE|lorebook_v3/.test(name))
    .map((name) => ({ name: `${folder}/${name}`, bytes: readFileSync(path.join(FIXTURES, folder, name)) })),
)

type Leaf = [path: string, value: unknown]

function leavesOf(value: unknown, at = ''): Leaf[] {
  if (typeof value !== 'object' || value === null) return [[at, value]]
  return Object.entries(value).flatMap(([key, item]) => leavesOf(item, at === '' ? key : `${at}.${key}`))
}

/** Other names of the same fields. */
const RENAMED: Readonly<Record<string, string>> = {
  char_name: 'name',
  char_persona: 'description',
  char_greeting: 'first_mes',
  example_dialogue: 'mes_example',
  world_scenario: 'scenario',
}

/** The JSON of the cards in a file, each as the keys of a card, those beside `data` in front. */
async function writtenIn(bytes: Buffer): Promise<Leaf[][]> {
  const format = Object.values(formats).find((candidate) => candidate.sniff(bytes))
  const opened = await format?.read(bytes, createNotebook())
  return (opened?.groups ?? []).flat().map((found) => {
    const {
      spec: _spec,
      spec_version: _version,
      data,
      ...root
    } = parseCardJson(found.open(), createNotebook()) as Record<string, unknown>
    return leavesOf(data ?? root).map(([at, value]): Leaf => [RENAMED[at] ?? at, value])
  })
}

const isEmpty = (value: unknown) => value === null || value === '' || value === undefined

/** What stands in the file, is not in our export, and was not told. */
function lostOf(
  written: readonly Leaf[],
  exported: ReadonlyMap<string, unknown>,
  notes: readonly Note[],
): string[] {
  // Notes on the items of a list are one note, which names the first.
  const anyItem = (at: string) => at.replaceAll(/\.\d+(?=\.|$)/g, '.*')
  const isTold = (at: string) =>
    notes.some(({ path: told }) => told !== '' && anyItem(at).startsWith(anyItem(told)))
  return written
    .filter(([at, value]) => !isEmpty(value) && exported.get(at) !== value && !isTold(at))
    .map(([at]) => at)
}

test('no sample loses a field, and each comes back the same', async () => {
  const table = await Promise.all(
    samples.map(async ({ name, bytes }) => {
      const read = await readCard(bytes, name)
      const options = { modifiedAtSeconds: read.card.modification_date ?? 0 }
      const json = writeCard(read.card, 'json', options)
      const { data } = JSON.parse(Buffer.from(json).toString()) as { data: unknown }
      const exported = new Map(leavesOf(data))
      const candidates = (await writtenIn(bytes)).map((written) => ({
        written,
        lost: lostOf(written, exported, read.notes),
      }))
      const best = candidates.sort((a, b) => a.lost.length - b.lost.length)[0]
      const files = [
        json,
        writeCard(read.card, 'yaml', options),
        writeCard(read.card, 'png', { ...options, picture: pngOf() }),
        await writeCharx(read.card, { ...options, original: bytes }),
      ]
      const again = await Promise.all(files.map(async (file) => (await readCard(file, name)).card))
      const same = { ...read.card, modification_date: options.modifiedAtSeconds }
      return {
        sample: name,
        container: read.container,
        spec: read.spec,
        fields: best?.written.length ?? 0,
        lost: best?.lost.join(' ') ?? 'nothing was read',
        'round trip': again.every((card) => JSON.stringify(sorted(card)) === JSON.stringify(sorted(same))),
        notes: [...new Set(read.notes.map(({ code }) => code))].join(' '),
      }
    }),
  )
  process.stdout.write(`${asText(table)}\n`)
  expect(table.length).toBeGreaterThan(25)
  for (const row of table) {
    expect(row.fields, row.sample).toBeGreaterThan(3)
    expect(row, row.sample).toMatchObject({ lost: '', 'round trip': true })
  }
})

/** Files may order their keys as they like. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]),
  )
}

function asText(rows: readonly Record<string, unknown>[]): string {
  const columns = Object.keys(rows[0] ?? {})
  const widths = columns.map((column) =>
    Math.max(column.length, ...rows.map((row) => String(row[column]).length)),
  )
  const line = (cells: readonly string[]) =>
    cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  ')
  return [line(columns), ...rows.map((row) => line(columns.map((column) => String(row[column]))))].join('\n')
}
