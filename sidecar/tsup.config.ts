import { cp } from 'node:fs/promises'
import path from 'node:path'

import { defineConfig } from 'tsup'

/** Files that run as threads of their own, with what they import. */
const THREADS = [
  'store/append-worker.mjs',
  'store/outbox-worker.mjs',
  'rag/lexical-worker.mjs',
  'rag/vector-worker.mjs',
  'rag/serve-thread.mjs',
  'rag/words.mjs',
]

// Packages stay outside the bundle (several are native); each driver becomes a chunk that is loaded when it is chosen.
export default defineConfig({
  // A document is read in a process of its own, which begins at `read-child`; figures and cards have a thread of their own.
  entry: {
    main: 'sidecar/src/main.ts',
    cli: 'sidecar/src/cli.ts',
    'read-child': 'sidecar/src/rag/read-child.ts',
    'analytics-thread': 'sidecar/src/analytics/thread-main.ts',
    'card-thread': 'sidecar/src/library/card-thread.ts',
  },
  outDir: 'dist',
  format: 'esm',
  target: 'node20',
  platform: 'node',
  splitting: true,
  sourcemap: true,
  // The pages are built into a folder of their own.
  clean: ['dist/*', '!dist/web'],
  // The store looks for its migrations and its thread beside the running file, and so do the indexes of knowledge.
  async onSuccess() {
    await cp('sidecar/src/store/migrations', 'dist/migrations', { recursive: true })
    for (const thread of THREADS) await cp(`sidecar/src/${thread}`, `dist/${path.basename(thread)}`)
  },
})
