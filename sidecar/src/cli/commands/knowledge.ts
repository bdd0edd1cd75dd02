/** Knowledge: documents in, how far they are, and who may look them up. */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { documentsIn, type DocumentFile } from '../folder.ts'

const Base = z.looseObject({
  id: z.string(),
  name: z.string(),
  characterIds: z.array(z.string()),
  documents: z.record(z.string(), z.number()),
  chunks: z.number(),
  searchedBy: z.string(),
  settings: z.record(z.string(), z.unknown()),
  rebuilding: z.object({ done: z.number(), total: z.number() }).nullable(),
})
type Base = z.infer<typeof Base>
const Bases = z.looseObject({ bases: z.array(Base) })

const Note = z.looseObject({ message: z.string() })
const Document = z.looseObject({
  id: z.string(),
  file: z.string(),
  state: z.string(),
  progress: z.looseObject({
    pagesRead: z.number(),
    pagesTotal: z.number().nullable(),
    chunksEmbedded: z.number(),
    chunksTotal: z.number().nullable(),
    secondsLeft: z.number().nullable(),
  }),
  failure: Note.nullable(),
  notes: z.array(Note),
})
type Document = z.infer<typeof Document>
const Documents = z.looseObject({ documents: z.array(Document) })

const Chunk = z.looseObject({
  id: z.number(),
  header: z.string(),
  text: z.string(),
  isDisabled: z.boolean(),
})

const Added = z.looseObject({
  results: z.array(
    z.looseObject({
      file: z.string(),
      status: z.string(),
      id: z.string().optional(),
      notes: z.array(Note),
    }),
  ),
})
type Result = z.infer<typeof Added>['results'][number]

const POLL_MS = 300

const at = (kind: 'bases' | 'documents' | 'characters' | 'chunks', id: string, rest = '') =>
  `/troupe/api/knowledge/${kind}/${encodeURIComponent(id)}${rest}`

// -- adding ------------------------------------------------------------------------------------------------------------

/** Into a base, or into the one of a character alone. */
export async function sendDocument(
  to: { base: string } | { character: string },
  { file, name }: DocumentFile,
  api: Run['api'],
): Promise<Result[]> {
  const target =
    'base' in to ? at('bases', to.base, '/documents') : at('characters', to.character, '/documents')
  return (await api.upload(target, { name, bytes: await readFile(file) }, Added)).results
}

async function add(run: Run): Promise<number> {
  const { positionals, values, api, screen } = run
  if (positionals.length === 0) throw new AppError('invalid', 'Name at least one document or folder')
  const [base, character] = [textOf(values, 'to'), textOf(values, 'for')]
  if ((base === undefined) === (character === undefined))
    throw new AppError('invalid', 'Say where to: --to BASE for a knowledge base, or --for CHARACTER')
  const files = (await Promise.all(positionals.map(documentsIn))).flat()
  if (files.length === 0)
    throw new AppError('invalid', 'There is no document in these folders that can be read')
  const bar = screen.progress('Sending', files.length)
  const results: Result[] = []
  for (const file of files) {
    results.push(
      ...(await sendDocument(base === undefined ? { character: character ?? '' } : { base }, file, api)),
    )
    bar.step()
  }
  bar.end()
  const documents = values['no-wait'] === true ? [] : await follow(run, results)
  for (const result of results)
    show(
      run,
      result,
      documents.find(({ id }) => id === result.id),
    )
  screen.result({ results, documents })
  const isFailed = results.some(({ status }) => status === 'failed')
  return isFailed || documents.some(({ state }) => state !== 'ready') ? 1 : 0
}

function show({ screen }: Run, { file, status, id, notes }: Result, document: Document | undefined): void {
  const state = document?.state === 'ready' || document === undefined ? status : document.state
  screen.line(`${state.padEnd(9)} ${id ?? '-'}  ${file}`)
  const told = [...notes, ...(document?.failure ? [document.failure] : []), ...(document?.notes ?? [])]
  for (const { message } of told) screen.line(`            ${message}`)
}

const WORKING = new Set(['waiting', 'parsing', 'embedding'])

/** Until all have come to an end; the sidecar goes on by itself when this command is ended. */
async function follow({ api, screen }: Run, results: readonly Result[]): Promise<Document[]> {
  const ids = results.flatMap(({ id, status }) => (id === undefined || status === 'skipped' ? [] : [id]))
  const bar = screen.share('Reading')
  for (;;) {
    const documents = await Promise.all(ids.map((id) => api.call('GET', at('documents', id), Document)))
    const atWork = documents.filter(({ state }) => WORKING.has(state))
    bar.show(shareOf(documents), atWork.map(stepOf).join('; '))
    if (atWork.length === 0) {
      bar.end()
      return documents
    }
    await sleep(POLL_MS)
  }
}

/** Reading is the first half, finding the second. */
function shareOf(documents: readonly Document[]): number {
  const shares = documents.map(({ state, progress }) => {
    if (!WORKING.has(state)) return 1
    if (progress.chunksTotal !== null)
      return 0.5 + 0.5 * (progress.chunksEmbedded / Math.max(1, progress.chunksTotal))
    return 0.5 * (progress.pagesRead / Math.max(1, progress.pagesTotal ?? 1))
  })
  return shares.length === 0 ? 1 : shares.reduce((sum, share) => sum + share, 0) / shares.length
}

/** Of one document, in words. */
function stepOf({ state, file, progress }: Document): string {
  const left = progress.secondsLeft === null ? '' : `, about ${progress.secondsLeft} s left`
  if (state === 'waiting') return `${file} waits`
  if (progress.chunksTotal !== null)
    return `${file}: passage ${progress.chunksEmbedded} of ${progress.chunksTotal}${left}`
  return progress.pagesTotal === null
    ? `${file} is read`
    : `${file}: page ${progress.pagesRead} of ${progress.pagesTotal}${left}`
}

// -- looking -----------------------------------------------------------------------------------------------------------

const countText = (documents: Base['documents']): string =>
  Object.entries(documents)
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`)
    .join(', ') || 'no documents'

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

/** Exit code 1 when a document failed. */
async function status(run: Run): Promise<number> {
  const { positionals, values, api, screen } = run
  const bases =
    positionals.length > 0
      ? await Promise.all(positionals.map((id) => api.call('GET', at('bases', id), Base)))
      : (await api.call('GET', '/troupe/api/knowledge/bases', Bases)).bases
  const lists = () =>
    Promise.all(bases.map(({ id }) => api.call('GET', at('bases', id, '/documents'), Documents)))
  let documents = (await lists()).flatMap((answer) => answer.documents)
  if (values['wait'] === true) {
    const bar = screen.share('Reading')
    while (documents.some(({ state }) => WORKING.has(state))) {
      bar.show(
        shareOf(documents),
        documents
          .filter(({ state }) => WORKING.has(state))
          .map(stepOf)
          .join('; '),
      )
      await sleep(POLL_MS)
      documents = (await lists()).flatMap((answer) => answer.documents)
    }
    bar.end()
  }
  for (const base of bases)
    if (base.rebuilding !== null)
      screen.line(`${base.id}: cut anew, ${base.rebuilding.done} of ${base.rebuilding.total} documents`)
  const working = documents.filter(({ state }) => WORKING.has(state))
  const failed = documents.filter(({ state }) => state === 'failed')
  for (const document of working) screen.line(stepOf(document))
  for (const { id, file, failure } of failed)
    screen.line(`failed    ${id}  ${file}: ${failure?.message ?? ''}`)
  screen.line(`${documents.length} documents, ${working.length} at work, ${failed.length} failed`)
  screen.result({ bases, documents })
  return failed.length > 0 ? 1 : 0
}

async function chunks({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the document; "knowledge list BASE" shows them')
  const Page = z.looseObject({ chunks: z.array(Chunk), nextAfter: z.number().nullable() })
  const all: z.infer<typeof Chunk>[] = []
  for (let after: number | null = -1; after !== null;) {
    const page: z.infer<typeof Page> = await api.call(
      'GET',
      at('documents', id, `/chunks${query({ after, limit: 500 })}`),
      Page,
    )
    all.push(...page.chunks)
    after = page.nextAfter
  }
  for (const each of all) showChunk(each, screen)
  screen.result({ chunks: all })
  return 0
}

async function chunk({ positionals, values, api, screen }: Run): Promise<number> {
  const id = required(positionals, 'Name the passage; "knowledge chunks DOCUMENT" shows their numbers')
  const text = textOf(values, 'text')
  const [isOriginal, isOff, isOn] = ['original', 'disable', 'enable'].map((name) => values[name] === true)
  if ((isOriginal && text !== undefined) || (isOff && isOn))
    throw new AppError('invalid', 'Give --text or --original, and --disable or --enable, not both')
  const changes = {
    ...(text !== undefined && { text }),
    ...(isOriginal && { text: null }),
    ...(isOff !== isOn && { isDisabled: isOff }),
  }
  const isChange = Object.keys(changes).length > 0
  const found = await (isChange
    ? api.call('PATCH', at('chunks', id), Chunk, changes)
    : api.call('GET', at('chunks', id), Chunk))
  showChunk(found, screen)
  screen.result(found)
  return 0
}

function showChunk({ id, isDisabled, header, text }: z.infer<typeof Chunk>, screen: Run['screen']): void {
  screen.line(`${id}${isDisabled ? ' (disabled)' : ''}  ${header}`)
  screen.line(`${text.replaceAll(/^/gm, '    ')}\n`)
}

// -- changing ----------------------------------------------------------------------------------------------------------

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
    const settings = { ...base.settings }
    for (const wish of wishes) {
      const [name = '', value] = wish.split('=', 2)
      if (value === undefined)
        throw new AppError('invalid', `"${wish}" is no setting; write it as chunkCharacters=800`)
      settings[name] = value === '' ? undefined : /^\d+$/.test(value) ? Number(value) : value
    }
    base = await api.call('PATCH', at('bases', id), Base, { settings })
  }
  const told = Object.entries(base.settings).map(([name, value]) => `${name}=${String(value)}`)
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

const control = (action: 'retry' | 'stop') =>
  async function run({ positionals, api, screen }: Run): Promise<number> {
    if (positionals.length === 0)
      throw new AppError('invalid', 'Name the documents; "knowledge status" shows them')
    const documents: Document[] = []
    for (const id of positionals) {
      const document = await api.call('POST', at('documents', id, `/${action}`), Document, {})
      screen.line(`${document.state.padEnd(9)} ${document.id}  ${document.file}`)
      documents.push(document)
    }
    screen.result({ documents })
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

export const knowledgeCommands: readonly Command[] = [
  {
    name: 'knowledge add',
    usage: 'knowledge add FILE|FOLDER… --to BASE | --for CHARACTER [--no-wait]',
    summary: 'adds documents and waits until they are found',
    details:
      'PDF, DOCX, EPUB, HTML, Markdown, text, CSV and JSON; of a folder all of these, as deep as it goes. --for adds to the\n' +
      'base of one character alone, which is made when needed. A file of the same name is replaced once the new one is ready.\n',
    options: { to: { type: 'string' }, for: { type: 'string' }, 'no-wait': { type: 'boolean' } },
    run: add,
  },
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
    name: 'knowledge status',
    usage: 'knowledge status [BASE…] [--wait]',
    summary: 'shows what is at work and what failed; --wait until nothing is',
    options: { wait: { type: 'boolean' } },
    run: status,
  },
  {
    name: 'knowledge chunks',
    usage: 'knowledge chunks DOCUMENT',
    summary: 'shows the passages of a document',
    options: {},
    run: chunks,
  },
  {
    name: 'knowledge chunk',
    usage: 'knowledge chunk ID [--text WORDS | --original] [--disable | --enable]',
    summary: 'shows, corrects or disables a passage; --original takes corrections back',
    options: {
      text: { type: 'string' },
      original: { type: 'boolean' },
      disable: { type: 'boolean' },
      enable: { type: 'boolean' },
    },
    run: chunk,
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
    name: 'knowledge retry',
    usage: 'knowledge retry DOCUMENT…',
    summary: 'goes on with stopped or failed documents',
    options: {},
    run: control('retry'),
  },
  {
    name: 'knowledge stop',
    usage: 'knowledge stop DOCUMENT…',
    summary: 'stops the reading of documents',
    options: {},
    run: control('stop'),
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
