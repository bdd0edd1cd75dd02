/** One entry per command. */
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import type { AdminApi } from './admin-api.ts'
import { readUpload } from './folder.ts'
import type { Screen } from './screen.ts'

export interface Run {
  positionals: string[]
  values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>
  api: AdminApi
  screen: Screen
}

export interface Command {
  /** One or two words. */
  name: string
  usage: string
  summary: string
  details?: string
  options: Record<string, { type: 'string' | 'boolean' }>
  /** Resolves with the exit code. */
  run(run: Run): Promise<number>
}

const Note = z.looseObject({ message: z.string() })
const Imported = z.object({
  results: z.array(
    z.looseObject({ file: z.string(), status: z.string(), id: z.string().optional(), notes: z.array(Note) }),
  ),
})

async function importFiles({ positionals, api, screen }: Run): Promise<number> {
  if (positionals.length === 0)
    throw new AppError('invalid', 'Name at least one card file or character folder')
  const bar = screen.progress('Importing', positionals.length)
  const results: z.infer<typeof Imported>['results'] = []
  for (const name of positionals) {
    results.push(...(await importOne(name, api)))
    bar.step()
  }
  bar.end()
  for (const { file, status, id, notes } of results) {
    screen.line(`${status.padEnd(8)} ${id ?? '-'}  (${file})`)
    for (const note of notes) screen.line(`           ${note.message}`)
  }
  screen.result({ results })
  return results.some((result) => result.status === 'failed') ? 1 : 0
}

/** A file that cannot be read is a result like any other: the rest goes on. */
async function importOne(name: string, api: AdminApi) {
  try {
    const { results } = await api.upload('/troupe/api/characters/import', await readUpload(name), Imported)
    return results
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code === 'unavailable') throw thrown
    return [{ file: path.basename(name), status: 'failed', notes: [{ message: thrown.message }] }]
  }
}

async function exportFile({ positionals, values, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined)
    throw new AppError('invalid', 'Name the character to export, e.g. "export mira --format png"')
  const format = String(values['format'] ?? 'json')
  const file = await api.download(
    `/troupe/api/characters/${encodeURIComponent(id)}/export?format=${encodeURIComponent(format)}`,
  )
  const target = String(values['out'] ?? path.basename(file.name))
  await writeFile(target, file.bytes)
  screen.line(`Wrote ${target} (${String(file.bytes.length)} bytes)`)
  screen.result({ file: target, sizeBytes: file.bytes.length })
  return 0
}

const Key = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  expiresAtMs: z.number().nullable(),
  revokedAtMs: z.number().nullable(),
})

async function createKey({ positionals, values, api, screen }: Run): Promise<number> {
  const [name] = positionals
  if (name === undefined)
    throw new AppError('invalid', 'Name the key, e.g. "keys create reading-club --scopes chat,models"')
  const scopes = String(values['scopes'] ?? 'chat,models').split(',')
  const days = values['days'] === undefined ? {} : { expiresInDays: Number(values['days']) }
  const created = await api.call(
    'POST',
    '/troupe/api/keys',
    z.looseObject({ id: z.string(), secret: z.string() }),
    { name, scopes, ...days },
  )
  screen.line(created.secret)
  screen.line('This is the only time the key is shown.')
  screen.result(created)
  return 0
}

async function listKeys({ api, screen }: Run): Promise<number> {
  const { keys } = await api.call('GET', '/troupe/api/keys', z.object({ keys: z.array(Key) }))
  for (const key of keys) {
    const state = key.revokedAtMs === null ? 'active' : 'revoked'
    screen.line(`${key.id}  ${state.padEnd(8)} ${key.scopes.join(',').padEnd(24)} ${key.name}`)
  }
  screen.result({ keys })
  return 0
}

async function revokeKey({ positionals, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the id of the key; "keys list" shows them')
  await api.call('DELETE', `/troupe/api/keys/${encodeURIComponent(id)}`, z.null())
  screen.line(`Revoked ${id}`)
  screen.result({ id, revoked: true })
  return 0
}

const SyncReport = z.looseObject({
  changes: z.array(
    z.looseObject({
      id: z.string(),
      action: z.string(),
      reason: z.string(),
      difference: z.array(z.string()),
    }),
  ),
})

/** What a person has to look at: the others were done, or would be. */
const UNDONE = new Set(['conflict', 'drift', 'failed', 'incomplete'])

async function sync({ values, api, screen }: Run): Promise<number> {
  const options = { dryRun: values['dry-run'] === true, force: values['force'] === true }
  const report = await api.call('POST', '/troupe/api/openwebui/sync', SyncReport, options)
  for (const { action, id, reason, difference } of report.changes) {
    screen.line(`${action.padEnd(10)} ${id}: ${reason}`)
    for (const line of difference) screen.line(`             ${line}`)
  }
  if (report.changes.length === 0) screen.line('Open WebUI already shows exactly this cast.')
  screen.result(report)
  return report.changes.some((change) => UNDONE.has(change.action)) ? 1 : 0
}

/** Where the functions lie: the repository, from the source as well as from the bundle. */
const FUNCTION_FILES = ['troupe_events']

async function installFunctions({ values, api, screen }: Run): Promise<number> {
  const folder = String(values['from'] ?? 'functions')
  for (const id of FUNCTION_FILES) {
    const content = await readFile(path.join(folder, `${id}.py`), 'utf8')
    const { action } = await api.call(
      'POST',
      '/troupe/api/openwebui/functions',
      z.looseObject({ action: z.string() }),
      { id, content },
    )
    screen.line(`${action.padEnd(10)} ${id}`)
    screen.result({ id, action })
  }
  return 0
}

export const COMMANDS: readonly Command[] = [
  {
    name: 'import',
    usage: 'import FILE…',
    summary: 'adds cards, or folders with card.json and avatar.png, and publishes them',
    options: {},
    run: importFiles,
  },
  {
    name: 'export',
    usage: 'export ID [--format png|json|yaml|original] [--out FILE]',
    summary: 'writes a character as a card file',
    options: { format: { type: 'string' }, out: { type: 'string' } },
    run: exportFile,
  },
  {
    name: 'keys create',
    usage: 'keys create NAME [--scopes chat,models] [--days N]',
    summary: 'makes an API key and shows it once',
    options: { scopes: { type: 'string' }, days: { type: 'string' } },
    run: createKey,
  },
  { name: 'keys list', usage: 'keys list', summary: 'lists the API keys', options: {}, run: listKeys },
  { name: 'keys revoke', usage: 'keys revoke ID', summary: 'ends an API key', options: {}, run: revokeKey },
  {
    name: 'sync',
    usage: 'sync [--dry-run] [--force]',
    summary: 'brings names, pictures and access of all characters to Open WebUI',
    details: '--force also writes over what was changed by hand in Open WebUI.\n',
    options: { 'dry-run': { type: 'boolean' }, force: { type: 'boolean' } },
    run: sync,
  },
  {
    name: 'functions install',
    usage: 'functions install [--from FOLDER]',
    summary: 'installs our functions in Open WebUI and switches them on',
    options: { from: { type: 'string' } },
    run: installFunctions,
  },
]
