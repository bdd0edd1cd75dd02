/** Every sample in one table: what was read, what had to be mended, what comes back, and whether a field got lost. */
import { expect, test } from 'vitest'

import type { Note } from '#characters/card.ts'
import { formats } from '#characters/formats/index.ts'
import { readLorebook, writeLorebook } from '#characters/lorebooks.ts'
import { createNotebook } from '#characters/notes.ts'
import { parseCardJson } from '#characters/parse.ts'
import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'
import { writeCharx } from '#characters/write-charx.ts'

import { pngOf } from '../../support/png.ts'
import { CARD_FILES, LOREBOOK_FILES, type SampleFile } from '../../support/sample-files.ts'

type Leaf = [path: string, value: unknown]
type Fields = Record<string, unknown>

function leavesOf(value: unknown, at = ''): Leaf[] {
  if (typeof value !== 'object' || value === null) return [[at, value]]
  return Object.entries(value).flatMap(([key, item]) => leavesOf(item, at === '' ? key : `${at}.${key}`))
}

/** Other names of the same fields: those of gradio front-ends for a card, those of SillyTavern for a lorebook. */
const RENAMED: Readonly<Record<string, string>> = {
  char_name: 'name',
  char_persona: 'description',
  char_greeting: 'first_mes',
  example_dialogue: 'mes_example',
  world_scenario: 'scenario',
  scanDepth: 'scan_depth',
  tokenBudget: 'token_budget',
  recursiveScanning: 'recursive_scanning',
}
const RENAMED_IN_ENTRY: Readonly<Record<string, string>> = { uid: 'id', key: 'keys' }

/** The fields of the file itself and those of a lorebook's entries; what lies deeper is nobody's but its author's. */
const underOwnNames = (leaves: readonly Leaf[]): Leaf[] =>
  leaves.map(([at, value]) => {
    const own = at.replace(
      /((?:^|\.)entries\.\d+\.)(\w+)/,
      (_all, entry: string, key: string) => `${entry}${RENAMED_IN_ENTRY[key] ?? key}`,
    )
    return [own.replace(/^\w+/, (key) => RENAMED[key] ?? key), value]
  })

/** In front of the path of what stands beside `data`. */
const BESIDE = 'beside data: '

/** All values of a file, those of the card under the names of its fields. */
function leavesOfFile(value: unknown): Leaf[] {
  const { spec: _spec, spec_version: _version, data, ...root } = value as Fields
  if (data === undefined) return leavesOf(root)
  return [...leavesOf(data), ...leavesOf(root).map(([at, leaf]): Leaf => [`${BESIDE}${at}`, leaf])]
}

/** The JSON of the cards in a file. */
async function writtenIn(bytes: Buffer): Promise<Leaf[][]> {
  const format = Object.values(formats).find((candidate) => candidate.sniff(bytes))
  const opened = await format?.read(bytes, createNotebook())
  return (opened?.groups ?? [])
    .flat()
    .map((found) => underOwnNames(leavesOfFile(parseCardJson(found.open(), createNotebook()))))
}

const isEmpty = (value: unknown) => value === null || value === '' || value === undefined

/** A value that comes back in other words is no loss, where a note on this very field says so. */
const REWORDED = new Set(['renamed', 'converted'])

/** What stands in the file, and neither comes back in our export nor was put in other words. */
function lostOf(
  written: readonly Leaf[],
  exported: ReadonlyMap<string, unknown>,
  notes: readonly Note[],
): string[] {
  // Notes on the items of a list are one note, which names the first.
  const anyItem = (at: string) => at.replaceAll(/\.\d+(?=\.|$)/g, '.*')
  const told = new Set(notes.filter(({ code }) => REWORDED.has(code)).map(({ path }) => anyItem(path)))
  const isKept = (at: string, value: unknown) =>
    exported.get(at) === value || (at.startsWith(BESIDE) && exported.get(at.slice(BESIDE.length)) === value)
  return written
    .filter(([at, value]) => !isEmpty(value) && !isKept(at, value))
    .filter(([at]) => !told.has(anyItem(at.replace(BESIDE, ''))))
    .map(([at]) => at)
}

/** Of all cards in a file the one that was read. */
function fewestLost(candidates: readonly Leaf[][], exported: ReadonlyMap<string, unknown>, notes: Note[]) {
  const [best] = candidates
    .map((written) => ({ written, lost: lostOf(written, exported, notes) }))
    .sort((a, b) => a.lost.length - b.lost.length)
  return { fields: best?.written.length ?? 0, lost: best?.lost.join(' ') ?? 'nothing was read' }
}

const exportedIn = (json: Uint8Array) => new Map(leavesOfFile(JSON.parse(Buffer.from(json).toString())))

const codesOf = (notes: readonly Note[]) => [...new Set(notes.map(({ code }) => code))].join(' ')

async function cardRow({ name, bytes }: SampleFile) {
  const read = await readCard(bytes, name)
  const options = { modifiedAtSeconds: read.card.modification_date ?? 0 }
  const json = writeCard(read.card, 'json', options)
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
    ...fewestLost(await writtenIn(bytes), exportedIn(json), read.notes),
    'round trip': again.every((card) => JSON.stringify(sorted(card)) === JSON.stringify(sorted(same))),
    notes: codesOf(read.notes),
  }
}

async function lorebookRow({ name, bytes }: SampleFile) {
  const { lorebook, notes } = await readLorebook(bytes, name)
  const json = writeLorebook(lorebook)
  const again = await readLorebook(json, name)
  const written = JSON.parse(bytes.toString(), (key, value: unknown) =>
    key === 'entries' ? Object.values(value as object) : value,
  ) as unknown
  return {
    ...{ sample: name, container: 'json', spec: 'lorebook' },
    ...fewestLost([underOwnNames(leavesOfFile(written))], exportedIn(json), notes),
    'round trip': JSON.stringify(sorted(again.lorebook)) === JSON.stringify(sorted(lorebook)),
    notes: codesOf(notes),
  }
}

test('no sample loses a field, and each comes back the same', async () => {
  const table = await Promise.all([...CARD_FILES.map(cardRow), ...LOREBOOK_FILES.map(lorebookRow)])
  process.stdout.write(`${asText(table)}\n`)
  expect(CARD_FILES.length).toBeGreaterThan(35)
  expect(LOREBOOK_FILES.length).toBeGreaterThan(1)
  for (const row of table) {
    expect(row.fields, row.sample).toBeGreaterThan(1)
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
