/** Looking at characters, and changing which version of them answers. */
import path from 'node:path'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { Card } from '#characters/card.ts'
import { SETTINGS } from '#characters/settings.ts'

import { characterPath, query, required, textOf, type Command, type Run } from '../command.ts'
import { writeNamed } from '../files.ts'

const Summary = z.looseObject({
  id: z.string(),
  name: z.string(),
  tags: z.array(z.string()),
  publishedVersion: z.number().nullable(),
  latestVersion: z.number(),
  promptTokens: z.number(),
})
type Summary = z.infer<typeof Summary>

const Page = z.looseObject({
  characters: z.array(Summary),
  nextCursor: z.string().nullable(),
  total: z.number(),
})

const standing = ({ publishedVersion, latestVersion }: Summary): string => {
  if (publishedVersion === null) return `draft ${String(latestVersion)}`
  return publishedVersion === latestVersion
    ? `version ${String(publishedVersion)}`
    : `version ${String(publishedVersion)} of ${String(latestVersion)}`
}

async function list({ values, api, screen }: Run): Promise<number> {
  const find = {
    search: textOf(values, 'search'),
    tag: textOf(values, 'tag'),
    state: textOf(values, 'state'),
  }
  const characters: Summary[] = []
  let cursor: string | undefined
  do {
    const page = await api.call(
      'GET',
      `/troupe/api/characters${query({ ...find, cursor, limit: 500 })}`,
      Page,
    )
    characters.push(...page.characters)
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  for (const character of characters) {
    const { id, name, promptTokens, tags } = character
    const tokens = `${String(promptTokens)} tokens`
    screen.line(
      `${id.padEnd(28)} ${standing(character).padEnd(16)} ${tokens.padStart(12)}  ${name}  ${tags.join(', ')}`,
    )
  }
  if (characters.length === 0) screen.line('Nothing found.')
  screen.result({ characters })
  return 0
}

async function exportFile({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the character to export, e.g. "export mira --format png"')
  const wanted = query({ format: textOf(values, 'format') ?? 'json', version: textOf(values, 'version') })
  const file = await api.download(characterPath(id, `/export${wanted}`))
  const target = textOf(values, 'out') ?? path.basename(file.name)
  await writeNamed(target, file.bytes)
  screen.line(`Wrote ${target} (${String(file.bytes.length)} bytes)`)
  screen.result({ file: target, sizeBytes: file.bytes.length })
  return 0
}

const Versions = z.looseObject({
  versions: z.array(
    z.looseObject({
      number: z.number(),
      createdAtMs: z.number(),
      createdBy: z.string().nullable(),
      note: z.string().nullable(),
      publishedAtMs: z.number().nullable(),
    }),
  ),
})

const moment = (atMs: number) => new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')

async function versions({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the character, e.g. "versions mira"')
  const { publishedVersion } = await api.call('GET', characterPath(id), Summary)
  const answer = await api.call('GET', characterPath(id, '/versions'), Versions)
  for (const { number, createdAtMs, createdBy, note, publishedAtMs } of answer.versions) {
    const mark = number === publishedVersion ? '*' : ' '
    const published = publishedAtMs === null ? 'never published' : `published ${moment(publishedAtMs)}`
    screen.line(
      `${mark} ${String(number).padStart(3)}  ${moment(createdAtMs)}  ${(createdBy ?? '-').padEnd(16)} ${published}  ${note ?? ''}`,
    )
  }
  screen.result({ publishedVersion, ...answer })
  return 0
}

/** What was added has no `before`, what was removed no `after`. */
const Diff = z.looseObject({
  differences: z.array(
    z.looseObject({ path: z.string(), before: z.unknown().optional(), after: z.unknown().optional() }),
  ),
})

async function diff({ positionals, api, screen }: Run): Promise<number> {
  const [id, from, to] = positionals
  if (id === undefined || from === undefined || to === undefined)
    throw new AppError('invalid', 'Name the character and two versions, e.g. "diff mira 1 2"')
  const between = query({ from: versionOf(id, from), to: versionOf(id, to) })
  const answer = await api.call('GET', characterPath(id, `/diff${between}`), Diff)
  for (const { path: where, before, after } of answer.differences) {
    screen.line(where)
    if (before !== undefined) screen.line(`  - ${shown(before)}`)
    if (after !== undefined) screen.line(`  + ${shown(after)}`)
  }
  if (answer.differences.length === 0) screen.line('Both say the same.')
  screen.result(answer)
  return 0
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))

/** A change of a character that answers with how it is then. */
const change =
  (what: (id: string, rest: readonly string[], run: Run) => { path: string; body?: unknown }) =>
  async (run: Run): Promise<number> => {
    const id = required(run.positionals, 'Name the character; "list" shows them')
    const { path: where, body } = what(id, run.positionals.slice(1), run)
    const character = await run.api.call('POST', where, Summary, body ?? {})
    run.screen.line(`${character.id}: ${standing(character)}`)
    run.screen.result(character)
    return 0
  }

/** `2`, or `v2` as it is said. */
function versionOf(id: string, word: string): number {
  const [, number] = /^v?([1-9]\d*)$/.exec(word) ?? []
  if (number === undefined)
    throw new AppError('invalid', `"${word}" is no version; "versions ${id}" shows which there are`)
  return Number(number)
}

const publish = change((id, [version], { values }) => {
  if (version === undefined)
    throw new AppError('invalid', `Name the version to publish; "versions ${id}" shows which there are`)
  return {
    path: characterPath(id, '/publish'),
    body: { version: versionOf(id, version), note: textOf(values, 'note') },
  }
})
const rollback = change((id, [version], { values }) => ({
  path: characterPath(id, '/rollback'),
  body: {
    version: version === undefined ? undefined : versionOf(id, version),
    note: textOf(values, 'note'),
  },
}))
const unpublish = change((id) => ({ path: characterPath(id, '/unpublish') }))
/** With the backups: `restore` brings both back. */
export const restoreCharacter = change((id) => ({ path: characterPath(id, '/restore') }))

async function remove({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the character to delete')
  const forever = values['forever'] === true
  await api.call('DELETE', characterPath(id, query({ forever: forever || undefined })), z.null())
  screen.line(
    forever
      ? `${id} is gone for good.`
      : `${id} is in the trash for 30 days; "restore ${id}" brings it back.`,
  )
  screen.result({ id, deleted: true, forever })
  return 0
}

const Changed = z.looseObject({ notes: z.array(z.looseObject({ message: z.string() })).default([]) })

async function groups({ positionals, api, screen }: Run): Promise<number> {
  const id = required(
    positionals,
    'Name the character and its groups, e.g. "groups mira club,staff", or "groups mira everybody"',
  )
  const [, wanted] = positionals
  const notes: z.infer<typeof Changed>['notes'] = []
  if (wanted !== undefined) {
    const names = wanted === 'everybody' ? null : wanted.split(',').map((name) => name.trim())
    const changed = await api.call('PATCH', characterPath(id), Changed, { groups: names })
    notes.push(...changed.notes)
  }
  const character = await api.call(
    'GET',
    characterPath(id),
    z.looseObject({ groups: z.array(z.string()).nullable() }),
  )
  screen.line(
    `${id}: ${character.groups === null ? 'as Open WebUI says' : character.groups.join(', ') || 'nobody'}`,
  )
  for (const { message } of notes) screen.line(message)
  screen.result({ id, groups: character.groups, notes })
  return 0
}

const Version = z.looseObject({
  number: z.number(),
  card: z.looseObject({ extensions: z.record(z.string(), z.unknown()) }),
})

async function set({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(
    positionals,
    'Name the character and what to set, e.g. "set mira options.temperature=0.7"',
  )
  const wishes = positionals.slice(1).map(readWish)
  if (wishes.length === 0)
    throw new AppError('invalid', 'Say what to set, e.g. "model=llama3.2" or "options.temperature=0.7"')
  const { latestVersion } = await api.call('GET', characterPath(id), Summary)
  const { card } = await api.call('GET', characterPath(id, `/versions/${String(latestVersion)}`), Version)
  const changed = await api.call('PATCH', characterPath(id), Summary, {
    card: changesOf(wishes, card.extensions),
    baseVersion: latestVersion,
    publish: values['publish'] === true,
    note: textOf(values, 'note'),
  })
  screen.line(`${id}: ${standing(changed)}`)
  screen.result(changed)
  return 0
}

interface Wish {
  path: string[]
  /** Null takes it away. */
  value: unknown
}

/** `name=value`. */
function readWish(written: string): Wish {
  const [, name = '', text = ''] = /^([\w.]+)=([^]*)$/.exec(written) ?? []
  const path = name.split('.')
  const [top = ''] = path
  if (!SETTINGS.has(top) && (path.length > 1 || !(top in Card.shape) || top === 'extensions'))
    throw new AppError('invalid', `"${written}" names no field of a card and no option; see docs/prompt.md`)
  return { path, value: text === '' ? null : valueOf(top, text) }
}

const FIELDS: Readonly<Record<string, z.ZodType>> = Card.shape

/** JSON where it is some, else the text as it stands. What only looks like JSON is a text where the field is one: a scenario of 1984. */
function valueOf(name: string, text: string): unknown {
  const value = jsonOr(text)
  const field = FIELDS[name]
  if (field === undefined || value === null) return value
  return !field.safeParse(value).success && field.safeParse(text).success ? text : value
}

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return text
  }
}

/** Options stand in `extensions.troupe`, everything else is a field of the card. */
function changesOf(wishes: readonly Wish[], extensions: Readonly<Record<string, unknown>>) {
  const fields: Record<string, unknown> = {}
  let troupe = extensions['troupe']
  for (const { path, value } of wishes) {
    const [top = ''] = path
    if (SETTINGS.has(top)) troupe = withValue(troupe, path, value)
    else fields[top] = value
  }
  return troupe === extensions['troupe'] ? fields : { ...fields, extensions: { troupe } }
}

function withValue(into: unknown, [name = '', ...deeper]: readonly string[], value: unknown): unknown {
  const fields = z.record(z.string(), z.unknown()).catch({}).parse(into)
  const next = deeper.length === 0 ? value : withValue(fields[name], deeper, value)
  const { [name]: _before, ...others } = fields
  return next === null ? others : { ...others, [name]: next }
}

const Room = z.looseObject({
  model: z.string(),
  contextTokens: z.number(),
  replyTokens: z.number(),
  personaTokens: z.number(),
  isCounted: z.boolean(),
  loreTokens: z.number(),
  passageTokens: z.number(),
  historyTokens: z.number(),
  turns: z.number(),
})

async function room({ positionals, values, api, screen }: Run): Promise<number> {
  const character = required(positionals, 'Name the character, e.g. "room mira"')
  const answer = await api.call(
    'GET',
    `/troupe/api/prompt/room${query({ character, model: textOf(values, 'model') })}`,
    Room,
  )
  const { model, contextTokens, replyTokens, personaTokens, isCounted, historyTokens, turns } = answer
  const line = (tokens: number, what: string) => {
    screen.line(`${String(tokens).padStart(7)}  ${what}`)
  }
  screen.line(`${character} on ${model}, in tokens:`)
  line(contextTokens, 'context of the model')
  line(replyTokens, 'kept for the answer')
  line(
    personaTokens,
    `persona and what else stands in every prompt (${isCounted ? 'counted by the model server' : 'estimated'})`,
  )
  line(answer.loreTokens, 'called-up lore at most')
  line(answer.passageTokens, 'passages of documents at most')
  line(historyTokens, `for the conversation: about ${String(turns)} turns`)
  screen.result(answer)
  return 0
}

const Audit = z.looseObject({
  events: z.array(
    z.looseObject({ atMs: z.number(), actor: z.string(), action: z.string(), target: z.string() }),
  ),
})

async function audit({ positionals, values, api, screen }: Run): Promise<number> {
  const [target] = positionals
  const answer = await api.call(
    'GET',
    `/troupe/api/audit${query({ target, limit: textOf(values, 'limit') })}`,
    Audit,
  )
  for (const { atMs, actor, action, target: what } of answer.events)
    screen.line(`${moment(atMs)}  ${action.padEnd(16)} ${what.padEnd(28)} ${actor}`)
  screen.result(answer)
  return 0
}

const NOTE = { note: { type: 'string' } } as const

export const characterCommands: readonly Command[] = [
  {
    name: 'list',
    usage: 'list [--search WORDS] [--tag TAG] [--state published|draft|trash]',
    summary: 'lists the characters',
    options: { search: { type: 'string' }, tag: { type: 'string' }, state: { type: 'string' } },
    run: list,
  },
  {
    name: 'export',
    usage: 'export ID [--format png|json|yaml|charx|original] [--version N] [--out FILE]',
    summary: 'writes a character as a card file',
    options: { format: { type: 'string' }, version: { type: 'string' }, out: { type: 'string' } },
    run: exportFile,
  },
  {
    name: 'versions',
    usage: 'versions ID',
    summary: 'lists the versions of a character',
    options: {},
    run: versions,
  },
  {
    name: 'diff',
    usage: 'diff ID FROM TO',
    summary: 'shows how two versions differ',
    options: {},
    run: diff,
  },
  {
    name: 'publish',
    usage: 'publish ID VERSION [--note TEXT]',
    summary: 'lets a version answer',
    options: NOTE,
    run: publish,
  },
  {
    name: 'rollback',
    usage: 'rollback ID [VERSION] [--note TEXT]',
    summary: 'lets the version before answer again, or the one named',
    options: NOTE,
    run: rollback,
  },
  {
    name: 'set',
    usage: 'set ID NAME=VALUE… [--publish] [--note TEXT]',
    summary: 'changes fields or options of a character, as a new version',
    details:
      'NAME is a field of the card (scenario, tags …) or an option (model, options.temperature, layout …);\n' +
      'VALUE is JSON or a text, and nothing takes it away.\n',
    options: { ...NOTE, publish: { type: 'boolean' } },
    run: set,
  },
  {
    name: 'unpublish',
    usage: 'unpublish ID',
    summary: 'makes a draft of a character',
    options: {},
    run: unpublish,
  },
  {
    name: 'delete',
    usage: 'delete ID [--forever]',
    summary: 'puts a character into the trash',
    options: { forever: { type: 'boolean' } },
    run: remove,
  },
  {
    name: 'groups',
    usage: 'groups ID [NAME,NAME|everybody]',
    summary: 'shows or sets which groups of Open WebUI see a character',
    options: {},
    run: groups,
  },
  {
    name: 'room',
    usage: 'room ID [--model MODEL]',
    summary: "tells how a character fills a model's context",
    options: { model: { type: 'string' } },
    run: room,
  },
  {
    name: 'audit',
    usage: 'audit [ID] [--limit N]',
    summary: 'tells who did what, newest first',
    options: { limit: { type: 'string' } },
    run: audit,
  },
]
