/** A program of the tests as a process of its own: built once, since each process that first learns TypeScript takes seconds. */
import { cp } from 'node:fs/promises'
import path from 'node:path'

import { build } from 'tsup'

/** What the store looks for beside the file that runs. */
const BESIDE = ['migrations', 'append-worker.mjs', 'outbox-worker.mjs']

/** `name` is that of a file in this folder, without its ending. The path of what was built. */
export async function buildChild(name: string): Promise<string> {
  const outDir = path.resolve(`node_modules/.cache/troupe-${name}`)
  await build({
    entry: { child: `tests/support/${name}.ts` },
    outDir,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    config: false,
    silent: true,
    clean: true,
  })
  for (const file of BESIDE)
    await cp(path.join('sidecar/src/store', file), path.join(outDir, file), { recursive: true })
  return path.join(outDir, 'child.js')
}
