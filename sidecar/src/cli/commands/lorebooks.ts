/** Lorebooks beside the cards, and the tests of any book. */
import path from 'node:path'
import { z } from 'zod'

import { AppError, toAppError } from '#base/errors.ts'
import { readLorebook } from '#characters/lorebooks.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { readNamed, writeNamed } from '../files.ts'

const Stored = z.looseObject({
  id: z.string(),
  name: z.string(),
  characterIds: z.array(z.string()).nullable(),
})
const List = z.looseObject({ lorebooks: z.array(Stored.extend({ entries: z.number() })) })
const Changed = Stored.extend({ book: z.looseObject({ entries: z.array(z.unknown()) }) })
const Imported = z.looseObject({
  results: z.array(
    z.looseObject({
      file: z.string(),
      status: z.string(),
      id: z.string().optional(),
      notes: z.array(z.looseObject({ message: z.string() })),
    }),
  ),
})

const at = (id: string, rest = '') => `/troupe/api/lorebooks/${encodeURIComponent(id)}${rest}`

const whoHas = ({ characterIds }: z.infer<typeof Stored>) =>
  characterIds === null ? 'all characters' : characterIds.join(', ') || 'no character'

async function list({ api, screen }: Run): Promise<number> {
  const answer = await api.call('GET', '/troupe/api/lorebooks', List)
  for (const book of answer.lorebooks)
    screen.line(
      `${book.id.padEnd(28)} ${String(book.entries).padStart(6)} entries  ${book.name}  (${whoHas(book)})`,
    )
  screen.result(answer)
  return 0
}

type Results = z.infer<typeof Imported>['results']

/** A file that cannot be read is a result like any other: the rest goes on. */
async function importOne(name: string, route: string, api: Run['api']): Promise<Results> {
  const file = path.basename(name)
  let bytes: Uint8Array
  try {
    bytes = await readNamed(name)
  } catch (thrown) {
    return [{ file, status: 'failed', notes: [{ message: toAppError(thrown).message }] }]
  }
  return (await api.upload(route, { name: file, bytes }, Imported)).results
}

async function importBooks({ positionals, values, api, screen }: Run): Promise<number> {
  if (positionals.length === 0) throw new AppError('invalid', 'Name at least one lorebook file')
  const route = `/troupe/api/lorebooks/import${query({ for: textOf(values, 'for') })}`
  const results: Results = []
  for (const name of positionals) results.push(...(await importOne(name, route, api)))
  for (const { file, status, id, notes } of results) {
    screen.line(`${status.padEnd(8)} ${id ?? '-'}  (${file})`)
    for (const { message } of notes) screen.line(`           ${message}`)
  }
  const added = results.find(({ status }) => status === 'created')?.id
  if (added !== undefined && values['for'] === undefined)
    screen.line(`No character has it yet: "lorebooks attach ${added} CHARACTER", or "all".`)
  screen.result({ results })
  return results.some(({ status }) => status === 'failed') ? 1 : 0
}

async function exportBook({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the lorebook; "lorebooks list" shows them')
  const file = await api.download(at(id, '/export'))
  const target = textOf(values, 'out') ?? `${id}.json`
  await writeNamed(target, file.bytes)
  screen.line(`Wrote ${target} (${String(file.bytes.length)} bytes)`)
  screen.result({ file: target, sizeBytes: file.bytes.length })
  return 0
}

async function attach({ positionals, api, screen }: Run): Promise<number> {
  const [id, ...wanted] = positionals
  if (id === undefined || wanted.length === 0)
    throw new AppError(
      'invalid',
      'Name the lorebook and its characters, e.g. "lorebooks attach coast mira,pia", or "all", or "" for none',
    )
  const ids = wanted.flatMap((word) => word.split(',')).map((word) => word.trim())
  const characterIds = wanted.join('') === 'all' ? null : ids.filter((each) => each !== '')
  const book = await api.call('PATCH', at(id), Stored, { characterIds })
  screen.line(`${book.id}: ${whoHas(book)}`)
  screen.result(book)
  return 0
}

async function change({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the lorebook; "lorebooks list" shows them')
  const [name, file] = [textOf(values, 'name'), textOf(values, 'file')]
  if (name === undefined && file === undefined)
    throw new AppError('invalid', 'Say what changes: --name "The coast", or --file with the new entries')
  const changes = {
    ...(name !== undefined && { name }),
    ...(file !== undefined && { book: await bookIn(file) }),
  }
  const book = await api.call('PATCH', at(id), Changed, changes)
  screen.line(`${book.id}: ${book.name}, ${String(book.book.entries.length)} entries, ${whoHas(book)}`)
  screen.result(book)
  return 0
}

async function remove({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the lorebook to delete')
  await api.call('DELETE', at(id), z.null())
  screen.line(`${id} is gone.`)
  screen.result({ id, deleted: true })
  return 0
}

/** A file is sent as a book; any other word is a character, or with --book the id of a stored one. */
async function subject({ positionals, values }: Run) {
  const stored = textOf(values, 'book')
  if (stored !== undefined) return { lorebook: stored }
  const name = required(positionals, 'Name a character or a lorebook file')
  if (!/\.(json|png|charx|ya?ml|webp|jpe?g)$/i.test(name)) return { character: name }
  return { book: await bookIn(name) }
}

const bookIn = async (file: string) =>
  (await readLorebook(await readNamed(file), path.basename(file))).lorebook

const Findings = z.looseObject({
  findings: z.array(z.looseObject({ code: z.string(), message: z.string() })),
})

async function lint(run: Run): Promise<number> {
  const answer = await run.api.call('POST', '/troupe/api/lorebooks/lint', Findings, await subject(run))
  for (const { code, message } of answer.findings) run.screen.line(`${code.padEnd(20)} ${message}`)
  if (answer.findings.length === 0) run.screen.line('Nothing to say.')
  run.screen.result(answer)
  return 0
}

const Tested = z.looseObject({
  active: z.array(z.looseObject({ entry: z.string(), reason: z.string(), tokens: z.number() })),
  trace: z.array(
    z.looseObject({
      entry: z.string(),
      isActive: z.boolean(),
      reason: z.string(),
      pass: z.number().nullable(),
      place: z.string(),
    }),
  ),
  tokens: z.number(),
})

async function test(run: Run): Promise<number> {
  const words = textOf(run.values, 'say')
  if (words === undefined)
    throw new AppError('invalid', 'Give the words of the user: --say "What about the reef?"')
  const seed = textOf(run.values, 'seed')
  const dice = textOf(run.values, 'dice')
  const chance = { ...(seed !== undefined && { seed }), ...(dice !== undefined && { dice: Number(dice) }) }
  const body = { ...(await subject(run)), ...chance, messages: [{ role: 'user', content: words }] }
  const answer = await run.api.call('POST', '/troupe/api/lorebooks/test', Tested, body)
  for (const { entry, isActive, reason, pass, place } of answer.trace) {
    const where = pass === null ? '' : ` (pass ${String(pass)}, ${place.replaceAll('_', ' ')})`
    run.screen.line(`${isActive ? 'on ' : 'off'} ${entry.padEnd(28)} ${reason}${where}`)
  }
  run.screen.line(`${String(answer.active.length)} entries, ${String(answer.tokens)} tokens`)
  run.screen.result(answer)
  return 0
}

const BOOK = { book: { type: 'string' } } as const

export const lorebookCommands: readonly Command[] = [
  {
    name: 'lorebooks list',
    usage: 'lorebooks list',
    summary: 'lists the lorebooks beside the cards',
    options: {},
    run: list,
  },
  {
    name: 'lorebooks import',
    usage: 'lorebooks import FILE… [--for CHARACTER,CHARACTER|all]',
    summary: 'adds lorebooks: V3, world files of SillyTavern, or those inside cards',
    options: { for: { type: 'string' } },
    run: importBooks,
  },
  {
    name: 'lorebooks export',
    usage: 'lorebooks export BOOK [--out FILE]',
    summary: 'writes a lorebook as a V3 file',
    options: { out: { type: 'string' } },
    run: exportBook,
  },
  {
    name: 'lorebooks attach',
    usage: 'lorebooks attach BOOK CHARACTER…|all',
    summary: 'says which characters have a lorebook, and none else; "" for none',
    options: {},
    run: attach,
  },
  {
    name: 'lorebooks change',
    usage: 'lorebooks change BOOK [--name NAME] [--file FILE]',
    summary: 'renames a lorebook, or takes its entries from a file; its characters keep it',
    options: { name: { type: 'string' }, file: { type: 'string' } },
    run: change,
  },
  {
    name: 'lorebooks delete',
    usage: 'lorebooks delete BOOK',
    summary: 'deletes a lorebook',
    options: {},
    run: remove,
  },
  {
    name: 'lorebooks lint',
    usage: 'lorebooks lint CHARACTER|FILE | --book BOOK',
    summary: 'says which entries never come, come too often or cost too much',
    options: BOOK,
    run: lint,
  },
  {
    name: 'lorebooks test',
    usage: 'lorebooks test CHARACTER|FILE --say WORDS | --book BOOK --say WORDS [--dice 0…99 | --seed CHAT]',
    summary: 'shows which entries some words call up, and why the others stay away',
    details:
      'Dice of entries with a probability fall as in a chat, once. --dice says where they fall: 0 calls up all of them, 99 those\n' +
      'that are certain; --seed names another chat, with other dice.\n',
    options: { ...BOOK, say: { type: 'string' }, seed: { type: 'string' }, dice: { type: 'string' } },
    run: test,
  },
]
