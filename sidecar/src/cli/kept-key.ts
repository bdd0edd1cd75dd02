/** The admin key that `scripts/up` keeps beside the data: who started it need not say it again. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

const HERE = new Set(['127.0.0.1', 'localhost', '[::1]'])

const Secrets = z.looseObject({ adminKey: z.string() })

/** Undefined where none is kept, and for every other machine: the key of this house is not theirs to see. */
export function keptAdminKey(url: string, env: NodeJS.ProcessEnv): string | undefined {
  if (!URL.canParse(url) || !HERE.has(new URL(url).hostname)) return undefined
  const file = path.join(env['TROUPE_DATA_DIR'] || 'data', 'secrets.json')
  try {
    return Secrets.parse(JSON.parse(readFileSync(file, 'utf8'))).adminKey
  } catch {
    return undefined
  }
}
