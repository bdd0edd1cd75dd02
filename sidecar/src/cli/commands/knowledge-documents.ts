/** Documents in, how far they are, and their passages. */
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { documentsIn, type DocumentFile, type FoundDocuments } from '../folder.ts'
import {
  at,
  Base,
  Bases,
  Document,
  Documents,
  Note,
  POLL_MS,
  shareOf,
  stepOf,
  WORKING,
} from '../knowledge-api.ts'

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

/** Told like what was sent: a folder never loses a file in silence. */
export const skippedResults = ({ skipped }: FoundDocuments): Result[] =>
  skipped.map(({ name, why }) => ({ file: name, status: 'skipped', notes: [{ message: why }] }))

async function add(run: Run): Promise<number> {
  const { positionals, values, api, screen } = run
  if (positionals.length === 0) throw new AppError('invalid', 'Name at least one document or folder')
  const [base, character] = [textOf(values, 'to'), textOf(values, 'for')]
  if ((base === undefined) === (character === undefined))
    throw new AppError('invalid', 'Say where to: --to BASE for a knowledge base, or --for CHARACTER')
  const found = await Promise.all(positionals.map(documentsIn))
  const files = found.flatMap(({ documents }) => documents)
  const results = found.flatMap(skippedResults)
  if (files.length + results.length === 0)
    throw new AppError('invalid', 'There is no document in these folders that can be read')
  const bar = screen.progress('Sending', files.length)
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
  return isFailed || files.length === 0 || documents.some(({ state }) => state !== 'ready') ? 1 : 0
}

function show({ screen }: Run, { file, status, id, notes }: Result, document: Document | undefined): void {
  const state = document?.state === 'ready' || document === undefined ? status : document.state
  screen.line(`${state.padEnd(9)} ${id ?? '-'}  ${file}`)
  const told = [...notes, ...(document?.failure ? [document.failure] : []), ...(document?.notes ?? [])]
  for (const { message } of told) screen.line(`            ${message}`)
}

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

export const documentCommands: readonly Command[] = [
  {
    name: 'knowledge add',
    usage: 'knowledge add FILE|FOLDER… --to BASE | --for CHARACTER [--no-wait]',
    summary: 'adds documents and waits until they are found',
    details:
      'PDF, DOCX, EPUB, HTML, Markdown, text, CSV and JSON; of a folder all that can be read, as deep as it\n' +
      'goes, and what is left out is named. --for adds to the\n' +
      'base of one character alone, which is made when needed. A file of the same name is replaced once the new one is ready.\n',
    options: { to: { type: 'string' }, for: { type: 'string' }, 'no-wait': { type: 'boolean' } },
    run: add,
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
]
