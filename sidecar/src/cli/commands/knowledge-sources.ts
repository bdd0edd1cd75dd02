/** Fills bases from loaders of plugins, and builds the index again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import type { Command, Run } from '../command.ts'

const Loaded = z.looseObject({
  results: z.array(
    z.looseObject({
      file: z.string(),
      status: z.string(),
      notes: z.array(z.looseObject({ message: z.string() })),
    }),
  ),
})
const Loaders = z.looseObject({ loaders: z.array(z.string()) })

async function load({ positionals, api, screen }: Run): Promise<number> {
  const [base, loader] = positionals
  if (base === undefined || loader === undefined) {
    const { loaders } = await api.call('GET', '/troupe/api/knowledge/loaders', Loaders)
    const known = loaders.length === 0 ? 'no plugin brings one' : `there are ${loaders.join(', ')}`
    throw new AppError('invalid', `Name the base and the loader; ${known}`)
  }
  const path = `/troupe/api/knowledge/loaders/${encodeURIComponent(loader)}`
  const { results } = await api.call('POST', path, Loaded, { base })
  for (const { file, status, notes } of results) {
    screen.line(`${status.padEnd(8)} ${file}`)
    for (const { message } of notes) screen.line(`           ${message}`)
  }
  screen.result({ results })
  return results.some(({ status }) => status === 'failed') ? 1 : 0
}

const State = z.looseObject({
  state: z.enum(['idle', 'running', 'done', 'failed', 'stopped']),
  done: z.number(),
  total: z.number(),
  failure: z.looseObject({ message: z.string() }).nullable(),
})
const INDEX = '/troupe/api/knowledge/index'
const POLL_MS = 300

async function rebuild({ positionals: [base], values, api, screen }: Run): Promise<number> {
  if (values['stop'] === true) {
    const stopped = await api.call('DELETE', INDEX, State)
    screen.line(`${String(stopped.done)} of ${String(stopped.total)} passages were built`)
    screen.result(stopped)
    return 0
  }
  let now = await api.call('POST', INDEX, State, base === undefined ? {} : { base })
  const bar = screen.share('Rebuilding')
  while (now.state === 'running') {
    bar.show(now.done / Math.max(1, now.total), `${String(now.done)} of ${String(now.total)} passages`)
    await sleep(POLL_MS)
    now = await api.call('GET', INDEX, State)
  }
  bar.end()
  screen.line(now.failure?.message ?? `${now.state}: ${String(now.done)} of ${String(now.total)} passages`)
  screen.result(now)
  return now.state === 'done' ? 0 : 1
}

export const knowledgeSourceCommands: readonly Command[] = [
  {
    name: 'knowledge load',
    usage: 'knowledge load BASE LOADER',
    summary: 'fills a base with the documents of a loader that a plugin brings',
    options: {},
    run: load,
  },
  {
    name: 'knowledge rebuild',
    usage: 'knowledge rebuild [BASE] | --stop',
    summary: 'builds the index of words and vectors again from the database; nothing is embedded anew',
    options: { stop: { type: 'boolean' } },
    run: rebuild,
  },
]
