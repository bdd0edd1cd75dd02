/** What people can ask of the house. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { required, type Command, type Run } from '../command.ts'

const MISSING_ID = 'Name the id that Open WebUI gives the person; its admin panel shows it'
const pathOf = (id: string, rest = '') => `/troupe/api/privacy/people/${encodeURIComponent(id)}${rest}`

async function show({ positionals, api, screen }: Run): Promise<number> {
  const State = z.looseObject({
    objects: z.boolean(),
    erased: z.boolean(),
    rows: z.record(z.string(), z.record(z.string(), z.number())),
  })
  const state = await api.call('GET', pathOf(required(positionals, MISSING_ID)), State)
  for (const [database, tables] of Object.entries(state.rows))
    for (const [table, rows] of Object.entries(tables))
      if (rows > 0) screen.line(`${String(rows).padStart(8)} rows  ${database}.${table}`)
  if (state.objects) screen.line('Objected: counted, but not known.')
  if (state.erased) screen.line('Was erased.')
  screen.result(state)
  return 0
}

async function exportPerson({ positionals, api, screen }: Run): Promise<number> {
  const [id, file] = positionals
  if (id === undefined || file === undefined)
    throw new AppError('invalid', 'Name the person and a file, e.g. "privacy export ID person.zip"')
  const { sizeBytes } = await api.downloadTo(pathOf(id, '/export'), file)
  screen.line(`Wrote ${file}`)
  screen.result({ file, bytes: sizeBytes })
  return 0
}

async function erase({ positionals, api, screen }: Run): Promise<number> {
  const receipt = await api.call(
    'DELETE',
    pathOf(required(positionals, MISSING_ID)),
    z.looseObject({ receipt: z.looseObject({ id: z.string() }) }),
  )
  screen.line(`Forgotten. The signed receipt ${receipt.receipt.id} is kept; --json shows it.`)
  screen.result(receipt)
  return 0
}

async function object({ positionals, values, api, screen }: Run): Promise<number> {
  const off = values['off'] === true
  await api.call(off ? 'DELETE' : 'POST', pathOf(required(positionals, MISSING_ID), '/objection'), z.null())
  screen.line(off ? 'The objection is taken back.' : 'From now on counted, but not known.')
  screen.result({ objects: !off })
  return 0
}

async function reconcile({ values, api, screen }: Run): Promise<number> {
  const outcome = await api.call(
    'POST',
    '/troupe/api/openwebui/people/reconcile',
    z.looseObject({ erased: z.number(), refused: z.boolean() }),
    { force: values['force'] === true },
  )
  screen.line(
    outcome.refused
      ? 'Too many people are missing in Open WebUI for this to be right; look at it, then use --force.'
      : `${String(outcome.erased)} people who are gone there were forgotten.`,
  )
  screen.result(outcome)
  return outcome.refused ? 1 : 0
}

async function rotate({ api, screen }: Run): Promise<number> {
  await api.call('POST', '/troupe/api/privacy/pseudonyms/rotate', z.null())
  screen.line('New pseudonyms from now on; in 30 days nobody can tell whose the old ones were.')
  screen.result({ rotated: true })
  return 0
}

async function reseal({ api, screen }: Run): Promise<number> {
  const done = await api.call(
    'POST',
    '/troupe/api/privacy/fields/reseal',
    z.looseObject({ fields: z.number() }),
  )
  screen.line(`${String(done.fields)} fields sealed anew; older keys can be taken out of TROUPE_FIELD_KEYS.`)
  screen.result(done)
  return 0
}

export const privacyCommands: readonly Command[] = [
  {
    name: 'privacy show',
    usage: 'privacy show ID',
    summary: 'how much is kept of a person of Open WebUI',
    options: {},
    run: show,
  },
  {
    name: 'privacy export',
    usage: 'privacy export ID FILE.zip',
    summary: 'everything that is kept of a person',
    options: {},
    run: exportPerson,
  },
  {
    name: 'privacy erase',
    usage: 'privacy erase ID',
    summary: 'forgets a person for good, with a signed receipt',
    options: {},
    run: erase,
  },
  {
    name: 'privacy object',
    usage: 'privacy object ID [--off]',
    summary: 'counts a person without knowing them',
    options: { off: { type: 'boolean' } },
    run: object,
  },
  {
    name: 'privacy reconcile',
    usage: 'privacy reconcile [--force]',
    summary: 'forgets people who are not in Open WebUI any more',
    options: { force: { type: 'boolean' } },
    run: reconcile,
  },
  {
    name: 'privacy rotate',
    usage: 'privacy rotate',
    summary: 'begins new pseudonyms',
    options: {},
    run: rotate,
  },
  {
    name: 'privacy reseal',
    usage: 'privacy reseal',
    summary: 'encrypts fields of older keys with the newest one',
    options: {},
    run: reseal,
  },
]
