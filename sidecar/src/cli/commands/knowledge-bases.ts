/** Knowledge bases: made, cut, lent to characters, thrown away. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { at, Base, Bases, countText, Documents, POLL_MS } from '../knowledge-api.ts'

async function list({ positionals, values, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) {
    const state = values['trash'] === true ? 'trash' : undefined
    const answer = await api.call('GET', `/troupe/api/knowledge/bases${query({ state })}`, Bases)
    for (const base of answer.bases)
      screen.line(
        `${base.id.padEnd(28)} ${countText(base.documents)}, ${base.chunks} passages, by ${base.searchedBy}  (${base.characterIds.join(', ') || 'no character'})`,
      )
    screen.result(answer)
    return 0
  }
  const answer = await api.call('GET', at('bases', id, '/documents'), Documents)
  for (const document of answer.documents)
    screen.line(
      `${document.id}  ${document.state.padEnd(9)} ${document.file}${document.failure ? `: ${document.failure.message}` : ''}`,
    )
  screen.result(answer)
  return 0
}

async function create({ positionals, values, api, screen }: Run): Promise<number> {
  const name = required(
    positionals,
    'Name the knowledge base, e.g. "knowledge create \\"House rules\\" --for benno"',
  )
  const characterIds = textOf(values, 'for')
    ?.split(',')
    .map((each) => each.trim())
  const base = await api.call('POST', '/troupe/api/knowledge/bases', Base, {
    name,
    ...(characterIds && { characterIds }),
  })
  screen.line(`${base.id}: made  (${base.characterIds.join(', ') || 'no character'})`)
  screen.result(base)
  return 0
}

/** Like `set` of a character: `name=value`, and `name=` for the default. */
async function set({ positionals, api, screen }: Run): Promise<number> {
  const [id, ...wishes] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the knowledge base; "knowledge list" shows them')
  let base = await api.call('GET', at('bases', id), Base)
  if (wishes.length > 0) {
    const settings: Record<string, unknown> = {}
    for (const wish of wishes) {
      const [name = '', value] = wish.split('=', 2)
      if (value === undefined)
        throw new AppError('invalid', `"${wish}" is no setting; write it as chunkCharacters=800`)
      settings[name] = value === '' ? null : /^\d+$/.test(value) ? Number(value) : value
    }
    base = await api.call('PATCH', at('bases', id), Base, { settings })
  }
  const told = Object.entries(base.settings)
    .map(([name, value]) => `${name}=${String(value)}`)
    .sort()
  screen.line(`${base.id}: ${told.length === 0 ? 'as usual' : told.join(' ')}`)
  if (base.rebuilding !== null) screen.line('Its documents are cut anew; "knowledge list" shows how far.')
  screen.result(base)
  return 0
}

const attaching = (isAttached: boolean) =>
  async function run({ positionals, api, screen }: Run): Promise<number> {
    const [id, ...characters] = positionals
    if (id === undefined || characters.length === 0)
      throw new AppError(
        'invalid',
        'Name the knowledge base and its characters, e.g. "knowledge attach rules benno pia"',
      )
    const before = await api.call('GET', at('bases', id), Base)
    const others = before.characterIds.filter((each) => !characters.includes(each))
    const characterIds = isAttached ? [...others, ...characters] : others
    const base = await api.call('PATCH', at('bases', id), Base, { characterIds })
    screen.line(`${base.id}: ${base.characterIds.join(', ') || 'no character'}`)
    screen.result(base)
    return 0
  }

async function remove({ positionals, values, api, screen }: Run): Promise<number> {
  const base = textOf(values, 'base')
  if (positionals.length === 0 && base === undefined)
    throw new AppError('invalid', 'Name the documents, or --base BASE for a whole knowledge base')
  for (const id of positionals) await api.call('DELETE', at('documents', id), z.unknown())
  if (base !== undefined)
    await api.call(
      'DELETE',
      at('bases', base, query({ forever: values['forever'] === true ? true : undefined })),
      z.unknown(),
    )
  screen.line(
    base === undefined
      ? `Deleted ${positionals.length} documents`
      : `${base}: ${values['forever'] === true ? 'deleted for good' : 'in the trash for 30 days'}`,
  )
  screen.result({ deleted: base ?? positionals })
  return 0
}

async function restore({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the knowledge base; "knowledge list --trash" shows them')
  const base = await api.call('POST', at('bases', id, '/restore'), Base, {})
  screen.line(`${base.id}: ${countText(base.documents)}`)
  screen.result(base)
  return 0
}

async function recut({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the knowledge base; "knowledge list" shows them')
  let base = await api.call('POST', at('bases', id, '/rebuild'), Base, {})
  const bar = screen.share('Cutting')
  while (base.rebuilding !== null) {
    bar.show(
      base.rebuilding.done / Math.max(1, base.rebuilding.total),
      `${base.rebuilding.done} of ${base.rebuilding.total} documents`,
    )
    await sleep(POLL_MS)
    base = await api.call('GET', at('bases', id), Base)
  }
  bar.end()
  screen.line(`${base.id}: ${base.chunks} passages`)
  screen.result(base)
  return 0
}

export const knowledgeBaseCommands: readonly Command[] = [
  {
    name: 'knowledge create',
    usage: 'knowledge create NAME [--for CHARACTER,…]',
    summary: 'makes a knowledge base',
    options: { for: { type: 'string' } },
    run: create,
  },
  {
    name: 'knowledge list',
    usage: 'knowledge list [BASE] [--trash]',
    summary: 'lists the knowledge bases, or the documents of one',
    options: { trash: { type: 'boolean' } },
    run: list,
  },
  {
    name: 'knowledge set',
    usage: 'knowledge set BASE [NAME=VALUE…]',
    summary: 'shows or sets how a base is cut and used',
    details:
      'chunkCharacters=1000 and overlapCharacters=200 say how it is cut; other sizes cut it anew. wholeBase=never keeps a small\n' +
      'base from standing whole in every prompt. NAME= takes the default again.\n',
    options: {},
    run: set,
  },
  {
    name: 'knowledge remove',
    usage: 'knowledge remove DOCUMENT… | --base BASE [--forever]',
    summary: 'deletes documents, or puts a knowledge base into the trash',
    options: { base: { type: 'string' }, forever: { type: 'boolean' } },
    run: remove,
  },
  {
    name: 'knowledge restore',
    usage: 'knowledge restore BASE',
    summary: 'takes a knowledge base out of the trash',
    options: {},
    run: restore,
  },
  {
    name: 'knowledge attach',
    usage: 'knowledge attach BASE CHARACTER…',
    summary: 'lets characters look into a knowledge base',
    options: {},
    run: attaching(true),
  },
  {
    name: 'knowledge detach',
    usage: 'knowledge detach BASE CHARACTER…',
    summary: 'keeps characters from looking into a knowledge base',
    options: {},
    run: attaching(false),
  },
  {
    name: 'knowledge recut',
    usage: 'knowledge recut BASE',
    summary: 'reads all its documents again and cuts them anew',
    options: {},
    run: recut,
  },
]
