/** Base models, and those that are made for characters. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

import { MODEL_PROFILES, type ModelTraits } from '#providers/model-profiles.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'
import { sizeText } from '../screen.ts'

const Loaded = z.array(
  z.looseObject({
    name: z.string(),
    server: z.string(),
    contextTokens: z.number().optional(),
    askedTokens: z.number().optional(),
    sizeBytes: z.number().optional(),
    untilMs: z.number().optional(),
  }),
)
type Loaded = z.infer<typeof Loaded>

const Models = z.looseObject({
  loaded: Loaded,
  models: z.array(
    z.looseObject({
      name: z.string(),
      server: z.string(),
      contextTokens: z.number().optional(),
      chats: z.boolean(),
    }),
  ),
})

async function list({ api, screen }: Run): Promise<number> {
  const answer = await api.call('GET', '/troupe/api/models', Models)
  const inMemory = new Set(answer.loaded.map(({ name, server }) => `${server} ${name}`))
  for (const { name, server, contextTokens, chats } of answer.models) {
    const window = contextTokens === undefined ? '' : `${String(contextTokens)} tokens`
    const more = [
      ...(chats ? [] : ['embeds only']),
      ...(inMemory.has(`${server} ${name}`) ? ['in memory'] : []),
    ]
    const notes = more.length > 0 ? `  (${more.join(', ')})` : ''
    screen.line(`${name.padEnd(40)} ${window.padStart(16)}  ${server}${notes}`)
  }
  screen.result(answer)
  return 0
}

async function create({ positionals, values, api, screen }: Run): Promise<number> {
  const name = required(
    positionals,
    'Name the model, e.g. "models create mira --from llama3.2:1b --character mira"',
  )
  const server = textOf(values, 'server')
  const give = async (file: string | undefined) =>
    file === undefined ? undefined : { [path.basename(file)]: await giveFile(file, server, api, screen) }
  const wish = {
    name,
    server,
    from: textOf(values, 'from'),
    files: await give(textOf(values, 'gguf')),
    adapters: await give(textOf(values, 'adapter')),
    character: textOf(values, 'character'),
  }
  const made = await api.call('POST', '/troupe/api/models', z.looseObject({ name: z.string() }), wish)
  screen.line(`Made ${made.name}`)
  if (wish.character !== undefined)
    screen.line(`${wish.character} has it in a new version; "publish" lets that one answer`)
  screen.result(made)
  return 0
}

const PullLine = z.object({
  status: z.string(),
  completedBytes: z.number().optional(),
  totalBytes: z.number().optional(),
})

/** One after the other: a second pull would only share the same network. Ctrl-C stops; the next pull goes on from there. */
async function pull({ positionals, values, api, screen }: Run): Promise<number> {
  if (positionals.length === 0) return listPulls(screen)
  for (const model of positionals) {
    const bar = screen.bytes(`Pulling ${model}`)
    try {
      const wish = { model, server: textOf(values, 'server') }
      for await (const line of api.lines('/troupe/api/models/pull', wish, PullLine)) {
        screen.event({ model, ...line })
        if (line.totalBytes !== undefined) bar.show(line.completedBytes ?? 0, line.totalBytes)
      }
    } finally {
      bar.end()
    }
    screen.line(`${model} is ready`)
  }
  return 0
}

function listPulls(screen: Run['screen']): number {
  for (const { title, pulls } of MODEL_PROFILES)
    for (const { name, sizeBytes } of pulls)
      screen.line(`${name.padEnd(16)} ${sizeText(sizeBytes).padStart(8)}  ${title}`)
  screen.result({ models: MODEL_PROFILES.flatMap(({ pulls }) => pulls) })
  return 0
}

const Loads = z.looseObject({
  loaded: Loaded,
  loads: z.array(
    z.looseObject({
      atMs: z.number(),
      requestId: z.string(),
      server: z.string(),
      model: z.string(),
      kind: z.string(),
      task: z.string().nullable(),
      contextTokens: z.number().nullable(),
      loadMs: z.number(),
      cause: z.enum(['first', 'window', 'idle', 'elsewhere']),
    }),
  ),
})

const CAUSES: Readonly<Record<z.infer<typeof Loads>['loads'][number]['cause'], string>> = {
  first: 'no call before it is known',
  window: 'the call before asked for another window',
  idle: 'nobody had asked for minutes',
  elsewhere: 'another program, another model, or a new start of the server',
}

function loadedText({
  name,
  server,
  contextTokens,
  askedTokens,
  sizeBytes,
  untilMs,
}: Loaded[number]): string {
  const facts = [
    ...(contextTokens === undefined ? [] : [`${String(contextTokens)} tokens`]),
    ...(sizeBytes === undefined ? [] : [sizeText(sizeBytes)]),
    ...(untilMs === undefined ? [] : [`until ${new Date(untilMs).toISOString()}`]),
  ]
  const isForeign = contextTokens !== undefined && askedTokens !== undefined && contextTokens !== askedTokens
  const warning = isForeign
    ? `; Troupe asks for ${String(askedTokens)}, so another program has loaded it`
    : ''
  return `In memory: ${name} on ${server} (${facts.join(', ')})${warning}`
}

async function loads({ values, api, screen }: Run): Promise<number> {
  const answer = await api.call(
    'GET',
    `/troupe/api/models/loads${query({ hours: textOf(values, 'hours') })}`,
    Loads,
  )
  for (const model of answer.loaded) screen.line(loadedText(model))
  if (answer.loads.length === 0) screen.line('No call had to wait for a model to be loaded.')
  for (const { atMs, requestId, server, model, kind, task, contextTokens, loadMs, cause } of answer.loads) {
    const asked = `${task ?? kind} with ${String(contextTokens)} tokens, request ${requestId}`
    const when = new Date(atMs).toISOString()
    screen.line(
      `${when}  ${model} on ${server}, ${(loadMs / 1_000).toFixed(1)} s: ${CAUSES[cause]} (${asked})`,
    )
  }
  screen.result(answer)
  return 0
}

const yesNo = (value: boolean | undefined) => (value === undefined ? '?' : value ? 'yes' : 'no')

const COLUMNS: readonly [string, (profile: ModelTraits) => string][] = [
  ['model', ({ title }) => title],
  ['trained', ({ trainedContextTokens }) => String(trainedContextTokens)],
  ['context', ({ contextTokens }) => String(contextTokens)],
  ['system', ({ hasSystemRole }) => yesNo(hasSystemRole)],
  ['thinks', ({ thinks }) => yesNo(thinks)],
  ['sees', ({ sees }) => yesNo(sees)],
  ['tools', ({ callsTools }) => yesNo(callsTools)],
  ['sampling', ({ sampling }) => samplingText(sampling)],
]

const samplingText = (sampling: ModelTraits['sampling']): string =>
  Object.entries(sampling)
    .map(([option, value]) => `${option} ${String(value)}`)
    .join(', ') || "the server's own"

function profiles({ screen }: Run): Promise<number> {
  const rows = [
    COLUMNS.map(([title]) => title),
    ...MODEL_PROFILES.map((profile) => COLUMNS.map(([, cell]) => cell(profile))),
  ]
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows)
    screen.line(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
  screen.result({ profiles: MODEL_PROFILES })
  return Promise.resolve(0)
}

/** Only what the server does not have yet; its digest. */
async function giveFile(
  file: string,
  server: string | undefined,
  api: Run['api'],
  screen: Run['screen'],
): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer)
  const digest = `sha256:${hash.digest('hex')}`
  const where = `/troupe/api/models/files/${digest}${query({ server })}`
  const { isThere } = await api.call('GET', where, z.looseObject({ isThere: z.boolean() }))
  if (isThere) return digest
  screen.line(`Sending ${file} …`)
  await api.send('POST', where, file, z.null())
  return digest
}

export const modelCommands: readonly Command[] = [
  {
    name: 'models list',
    usage: 'models list',
    summary: 'lists the base models of all servers',
    options: {},
    run: list,
  },
  {
    name: 'models create',
    usage: 'models create NAME --from MODEL|--gguf FILE [--adapter FILE] [--character ID] [--server URL]',
    summary: 'makes a model on an Ollama, for a character if one is named',
    options: {
      from: { type: 'string' },
      gguf: { type: 'string' },
      adapter: { type: 'string' },
      character: { type: 'string' },
      server: { type: 'string' },
    },
    run: create,
  },
  {
    name: 'models pull',
    usage: 'models pull [NAME…] [--server URL]',
    summary: 'lets an Ollama fetch models; without a name, lists some',
    details:
      'Ctrl-C stops; the same command goes on from there. With --json, one line for each step, the last one with the status\n' +
      '"ready".\n',
    options: { server: { type: 'string' } },
    run: pull,
  },
  {
    name: 'models loads',
    usage: 'models loads [--hours N]',
    summary: 'tells which models are in memory, which requests made a server load one, and why',
    options: { hours: { type: 'string' } },
    run: loads,
  },
  {
    name: 'models profiles',
    usage: 'models profiles',
    summary: 'lists what Troupe knows of well-known models',
    options: {},
    run: profiles,
  },
]
