/** Base models, and those that are made for characters. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

import { query, required, textOf, type Command, type Run } from '../command.ts'

const Models = z.looseObject({
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
  for (const { name, server, contextTokens, chats } of answer.models) {
    const window = contextTokens === undefined ? '' : `${String(contextTokens)} tokens`
    screen.line(`${name.padEnd(40)} ${window.padStart(16)}  ${server}${chats ? '' : '  (embeds only)'}`)
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
]
