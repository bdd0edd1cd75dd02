/** Vectors in an SQLite file beside the database: what `vector-worker.mjs` does, asked from here. */
import { createThread } from '#base/thread.ts'

import { otherLength } from './fingerprint.ts'
import { scopeWord } from './scope.ts'
import type { VectorHit, VectorStore } from './vectors.ts'

const bytesOf = (vector: Float32Array) => new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength)

interface Answer {
  hits: readonly VectorHit[]
  /** Set when the vectors that lie there have another length. */
  dimensions?: number
}

/** `:memory:` for tests; `isNative: false` compares in JavaScript. The caller closes it. */
export function openSqliteVectorStore(file: string, { isNative = true } = {}): VectorStore {
  const workerData = { file, isNative }
  const thread = createThread(
    new URL('./vector-worker.mjs', import.meta.url),
    workerData,
    'The index of vectors',
  )
  const tell = async (method: string, argument: unknown) => {
    await thread.call(method, argument)
  }
  return {
    kind: 'sqlite',
    async put(fingerprint, scope, items) {
      const [first] = items
      if (first === undefined) return
      const dimensions = first.vector.length
      if (items.some(({ vector }) => vector.length !== dimensions)) throw otherLength(dimensions)
      const plain = items.map(({ vector, ...item }) => ({ ...item, vector: bytesOf(vector) }))
      const argument = { fingerprint, scope: scopeWord(scope), dimensions, items: plain }
      const answer = (await thread.call('put', argument)) as Pick<Answer, 'dimensions'> | undefined
      if (answer?.dimensions !== undefined) throw otherLength(answer.dimensions)
    },
    removeDocument: (documentId) => tell('removeDocument', documentId),
    removeScope: (scope, keep = '') => tell('removeScope', { scope: scopeWord(scope), keep }),
    async search({ scopes, vector, ...search }) {
      if (scopes.length === 0) return []
      const argument = { ...search, scopes: scopes.map(scopeWord), vector: bytesOf(vector) }
      const { hits, dimensions } = (await thread.call('search', argument)) as Answer
      if (dimensions !== undefined) throw otherLength(dimensions)
      return hits
    },
    count: async (fingerprint, scope) =>
      Number(await thread.call('count', { fingerprint, scope: scopeWord(scope) })),
    ping: () => thread.ping(),
    close: () => thread.close(),
  }
}
