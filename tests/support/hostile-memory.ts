/** How much memory each hostile file takes at its highest, beyond the file itself. Prints one JSON object, in MB. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { readCard } from '../../sidecar/src/characters/read.ts'

import { HOSTILE } from './hostile.ts'

const FIXTURES = 'tests/fixtures/cards'
const FLIPS = 2_000

/** Of Linux's own account of this process. */
const kept = (name: 'VmRSS' | 'VmHWM') =>
  Number(new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1_024

/** How far the resident memory rises above what it is now, at its highest. */
async function grow(read: () => Promise<unknown>): Promise<number> {
  globalThis.gc?.()
  // Sets the highest mark back to what is resident now.
  writeFileSync('/proc/self/clear_refs', '5')
  const before = kept('VmRSS')
  await read().catch(() => undefined)
  return kept('VmHWM') - before
}

function samples(): Buffer[] {
  return readdirSync(FIXTURES, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.md') && !entry.name.includes('LICENSE'))
    .map((entry) => readFileSync(path.join(entry.parentPath, entry.name)))
}

const grown: Record<string, number> = {}
for (const bytes of samples()) await readCard(bytes, 'sample').catch(() => undefined)
for (const { family, name, make } of HOSTILE) {
  const bytes = make()
  grown[`${String(family)}: ${name}`] = await grow(() => readCard(bytes, 'file'))
}
let seed = 7
const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) % below
grown['flipped bits'] = 0
const files = samples()
for (let flip = 0; flip < FLIPS; flip++) {
  const bytes = Buffer.from(files[flip % files.length] ?? Buffer.alloc(1))
  for (let at = 0; at < 8; at++) bytes[random(bytes.length)] = random(256)
  grown['flipped bits'] = Math.max(grown['flipped bits'], await grow(() => readCard(bytes, 'file')))
}
process.stdout.write(JSON.stringify(grown))
