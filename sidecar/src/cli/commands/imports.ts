/** Cards in, one or thousands, and the whole library out. */
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { cardFilesIn, documentsIn, FOLDER_KNOWLEDGE, isArchive, readUpload } from '../folder.ts'

import { sendDocument, skippedResults } from './knowledge-documents.ts'

const Note = z.looseObject({ message: z.string() })
const Result = z.looseObject({
  file: z.string(),
  status: z.string(),
  id: z.string().optional(),
  notes: z.array(Note),
})
type Result = z.infer<typeof Result>
const Imported = z.object({ results: z.array(Result) })
const Page = Imported.extend({ nextAfter: z.number().nullable() })

/** A sidecar that is being restarted is waited for this long, file by file; what was sent twice is skipped there. */
const PATIENCE_MS = 60_000
const RETRY_MS = 1_000
const POLL_MS = 300

async function importFiles({ positionals, values, api, screen }: Run): Promise<number> {
  if (positionals.length === 0)
    throw new AppError('invalid', 'Name at least one card file, folder of cards or zip archive')
  const wish = query({
    publish: values['draft'] === true ? 'false' : undefined,
    into: textOf(values, 'into'),
    note: textOf(values, 'note'),
  })
  const found = await Promise.all(
    positionals.map(async (named) => ({ named, names: await cardFilesIn(named) })),
  )
  const names = found.flatMap((each) => each.names)
  refuseForArchives(names, values)
  const bar = screen.progress('Importing', names.length)
  const results = found.filter((each) => each.names.length === 0).map(({ named }) => noCards(named))
  const imports: Job[] = []
  for (const name of names) {
    if (isArchive(name)) results.push(...(await importArchive(name, { values, api, screen }, imports)))
    else results.push(...(await importOne(name, api, wish)))
    bar.step()
  }
  bar.end()
  for (const { file, status, id, notes } of results) {
    screen.line(`${status.padEnd(8)} ${id ?? '-'}  (${file})`)
    for (const note of notes) screen.line(`           ${note.message}`)
  }
  screen.result({ results, imports })
  return results.some(({ status }) => status === 'failed' || status === 'stopped') ? 1 : 0
}

/** Each of its cards would become a version of that one character, or be described by the same words. */
function refuseForArchives(names: readonly string[], { into, note }: Run['values']): void {
  const archive = names.find(isArchive)
  if (archive === undefined || (into === undefined && note === undefined)) return
  throw new AppError('invalid', `${archive} is an archive of cards; --into and --note are for single cards`)
}

const noCards = (folder: string): Result => failed(folder, `${folder} holds no card, and no folder with one`)

const failed = (name: string, message: string): Result => ({
  ...{ file: path.basename(name), status: 'failed', notes: [{ message }] },
})

/** A file that cannot be read is a result like any other: the rest goes on. */
function asResult(name: string, thrown: unknown): Result[] {
  if (!(thrown instanceof AppError) || thrown.code === 'unavailable') throw thrown
  return [failed(name, thrown.message)]
}

async function importOne(name: string, api: Run['api'], wish: string): Promise<Result[]> {
  try {
    const upload = await readUpload(name)
    const { results } = await patiently(() =>
      api.upload(`/troupe/api/characters/import${wish}`, upload, Imported),
    )
    return [...results, ...(await importKnowledge(name, results[0]?.id, api))]
  } catch (thrown) {
    return asResult(name, thrown)
  }
}

/** What lies in the `knowledge` folder of a character goes into a base of its own; what is there already is skipped. */
async function importKnowledge(
  folder: string,
  character: string | undefined,
  api: Run['api'],
): Promise<Result[]> {
  const found = await documentsIn(path.join(folder, FOLDER_KNOWLEDGE)).catch(() => undefined)
  if (character === undefined || found === undefined) return []
  const results: Result[] = skippedResults(found)
  for (const document of found.documents)
    results.push(...(await patiently(() => sendDocument({ character }, document, api))))
  return results
}

/** Only after the first answer: a sidecar that never was there is told of at once. */
let wasThere = false

async function patiently<T>(send: () => Promise<T>): Promise<T> {
  const untilMs = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      const answer = await send()
      wasThere = true
      return answer
    } catch (thrown) {
      const isAway = thrown instanceof AppError && thrown.code === 'unavailable'
      if (!isAway || !wasThere || performance.now() > untilMs) throw thrown
      await sleep(RETRY_MS)
    }
  }
}

const Job = z.looseObject({
  id: z.string(),
  name: z.string(),
  state: z.string(),
  totalFiles: z.number(),
  failure: z.string().nullable(),
  counts: z.record(z.string(), z.number()),
})
type Job = z.infer<typeof Job>

const doneOf = ({ counts }: Job) => Object.values(counts).reduce((sum, files) => sum + files, 0)

/** Adds the import to `imports` once it has begun. */
async function importArchive(
  name: string,
  on: Pick<Run, 'values' | 'api' | 'screen'>,
  imports: Job[],
): Promise<Result[]> {
  try {
    const job = await followArchive(name, on)
    imports.push(job)
    const results = await resultsOf(job.id, on.api)
    if (job.failure !== null) return [...results, failed(name, job.failure)]
    if (job.state !== 'stopped') return results
    const message = `Somebody stopped it; "imports resume ${job.id}" goes on`
    return [...results, { file: path.basename(name), status: 'stopped', notes: [{ message }] }]
  } catch (thrown) {
    return asResult(name, thrown)
  }
}

/** To its end. The sidecar goes on by itself, also when this command is ended. */
async function followArchive(
  name: string,
  { values, api, screen }: Pick<Run, 'values' | 'api' | 'screen'>,
): Promise<Job> {
  const wish = query({ name: path.basename(name), publish: values['draft'] === true ? 'false' : undefined })
  let job = await api.send('POST', `/troupe/api/imports${wish}`, name, Job)
  wasThere = true
  screen.line(`Import ${job.id}: ${String(job.totalFiles)} files`)
  const bar = screen.progress('Importing', job.totalFiles)
  for (let shown = 0; ;) {
    job = await patiently(() => api.call('GET', `/troupe/api/imports/${job.id}`, Job))
    for (; shown < doneOf(job); shown++) bar.step()
    if (job.state !== 'running') break
    await sleep(POLL_MS)
  }
  bar.end()
  const counts = Object.entries(job.counts).filter(([, files]) => files > 0)
  screen.line(counts.map(([status, files]) => `${status} ${String(files)}`).join(', '))
  return job
}

async function resultsOf(job: string, api: Run['api']): Promise<Result[]> {
  const results: Result[] = []
  for (let after: number | null = -1; after !== null;) {
    const page: z.infer<typeof Page> = await api.call(
      'GET',
      `/troupe/api/imports/${job}/results${query({ limit: '1000', after: String(after) })}`,
      Page,
    )
    results.push(...page.results)
    after = page.nextAfter
  }
  return results
}

const Jobs = z.looseObject({ imports: z.array(Job) })

async function listImports({ api, screen }: Run): Promise<number> {
  const answer = await api.call('GET', '/troupe/api/imports', Jobs)
  for (const job of answer.imports)
    screen.line(
      `${job.id}  ${job.state.padEnd(8)} ${String(doneOf(job))}/${String(job.totalFiles)}  ${job.name}`,
    )
  screen.result(answer)
  return 0
}

const control = (action: 'stop' | 'resume') =>
  async function run({ positionals, api, screen }: Run): Promise<number> {
    const id = required(positionals, 'Name the import; "imports list" shows them')
    const job = await api.call('POST', `/troupe/api/imports/${encodeURIComponent(id)}/${action}`, Job, {})
    screen.line(`${job.id}  ${job.state}`)
    screen.result(job)
    return 0
  }

async function archive({ values, api, screen }: Run): Promise<number> {
  const target = textOf(values, 'out') ?? 'troupe-library.zip'
  const { sizeBytes, headers } = await api.downloadTo('/troupe/api/library/archive', target)
  const missing = Number(headers.get('x-troupe-missing-files') ?? 0)
  screen.line(`Wrote ${target} (${String(sizeBytes)} bytes)`)
  if (missing > 0)
    screen.line(
      `Pictures and card files that the library names and that it lacks, since they are not in the data folder of the sidecar: ` +
        `${String(missing)}. Where several sidecars have data folders of their own, let them share one (docs/operations.md); ` +
        'others were lost',
    )
  screen.result({ file: target, sizeBytes, missing })
  return missing > 0 ? 1 : 0
}

export const importCommands: readonly Command[] = [
  {
    name: 'import',
    usage: 'import FILE|FOLDER|ARCHIVE… [--draft] [--into ID] [--note TEXT]',
    summary: 'adds cards, folders of them or zip archives, and publishes them',
    details:
      'A folder with card.json (and avatar.png) is one character; documents in its folder knowledge become what it can look\n' +
      'up. A zip archive is read in the background; an archive of\n' +
      '"archive" brings a whole library. --draft does not publish; --into makes a new version of a character, and --note says\n' +
      'what is new in it; both are for single cards.\n',
    options: { draft: { type: 'boolean' }, into: { type: 'string' }, note: { type: 'string' } },
    run: importFiles,
  },
  {
    name: 'imports list',
    usage: 'imports list',
    summary: 'lists the imports of archives',
    options: {},
    run: listImports,
  },
  {
    name: 'imports stop',
    usage: 'imports stop IMPORT',
    summary: 'stops an import after the file that it reads',
    options: {},
    run: control('stop'),
  },
  {
    name: 'imports resume',
    usage: 'imports resume IMPORT',
    summary: 'goes on with a stopped import',
    options: {},
    run: control('resume'),
  },
  {
    name: 'archive',
    usage: 'archive [--out FILE]',
    summary: 'writes the whole library, with all versions and lorebooks, as one zip archive',
    options: { out: { type: 'string' } },
    run: archive,
  },
]
