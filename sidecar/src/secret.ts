/** A secret that the installation makes for itself once and keeps in its data folder, readable by its owner only. */
import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

const SECRET_BYTES = 32

export async function keepSecret(dataDir: string, name: string): Promise<string> {
  const file = path.join(dataDir, name)
  const fresh = randomBytes(SECRET_BYTES).toString('base64url')
  // "wx" refuses an existing file: of two processes that start at once, one writes and both read the same.
  await writeFile(file, fresh, { flag: 'wx', mode: 0o600 }).catch((error: unknown) => {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
  })
  return (await readFile(file, 'utf8')).trim()
}
