/** What concerns the Open WebUI beside us. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { z } from 'zod'

import type { Command, Run } from '../command.ts'

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

export const openWebUiCommands: readonly Command[] = [
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
