/** What `scripts/up` keeps beside the data: who started it need not say it again. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { z } from 'zod'

const HERE = new Set(['127.0.0.1', 'localhost', '[::1]'])

const Secrets = z.looseObject({ adminKey: z.string().optional(), pseudonymSecret: z.string().optional() })

/** Undefined where none is kept, and for every other machine: the key of this house is not theirs to see. */
export function keptAdminKey(url: string, env: NodeJS.ProcessEnv): string | undefined {
  if (!URL.canParse(url) || !HERE.has(new URL(url).hostname)) return undefined
  return keptSecrets(env['TROUPE_DATA_DIR'] || 'data').adminKey
}

/** The file that a sidecar made for itself goes first: a restore puts it back. Undefined where none is kept. */
export function keptPseudonymSecret(dataDir: string): string | undefined {
  return textIn(path.join(dataDir, 'pseudonym-secret')) || keptSecrets(dataDir).pseudonymSecret
}

function keptSecrets(dataDir: string): z.infer<typeof Secrets> {
  try {
    return Secrets.parse(JSON.parse(textIn(path.join(dataDir, 'secrets.json'))))
  } catch {
    return {}
  }
}

function textIn(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return ''
  }
}
