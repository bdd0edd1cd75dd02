/** The file of who was erased, in the data folder and beside the backups: no line of it is ever lost. */
import { open, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'

import { isAbsence } from './format.ts'

/** Merged, never replaced: whoever was erased after the backup stays erased. */
export const ERASURES = 'erasures.jsonl'

/**
 * So that a lost data folder loses no erasure: the file lies beside the backups as well. What is there already stays: it may come
 * from another data folder, or from before this one was lost.
 */
export async function copyErasures(dataDir: string, folder: string): Promise<void> {
  const lines = await readFileIfThere(path.join(dataDir, ERASURES))
  if (lines !== '') await mergeErasures(path.join(folder, ERASURES), lines)
}

/** Adds lines to a file of erasures; none that is there is lost. */
export async function mergeErasures(to: string, others: string): Promise<void> {
  const here = await readFileIfThere(to)
  const lines = new Set(`${others}\n${here}`.split('\n').filter((line) => line !== ''))
  await writeFile(`${to}.merged`, `${[...lines].join('\n')}\n`, { mode: 0o600 })
  const handle = await open(`${to}.merged`, 'r')
  await handle.sync()
  await handle.close()
  await rename(`${to}.merged`, to)
}

/** Another fault than its absence is no reason to go on without it. */
function readFileIfThere(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if (isAbsence(error)) return ''
    throw error
  })
}
