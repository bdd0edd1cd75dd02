/** Joins the parts that search: the engines, the vectors that were made, and the way from a turn to its passages. */
import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { EmbedTexts } from '#rag/embedder.ts'
import { openEngines, type EngineOptions } from '#rag/index.ts'
import { createRerank, type RerankOptions } from '#rag/rerank.ts'
import type { Store } from '#store/store.ts'

import { createEmbeddings } from './embeddings.ts'
import type { Retrieval } from './retrieval.ts'
import { createRetrieval } from './retrieve.ts'
import { createSearchIndex, type SearchIndex } from './search-index.ts'

export interface KnowledgeSearchOptions extends EngineOptions {
  store: Store
  embed: EmbedTexts
  /** Undefined for words alone. */
  embeddingModel?: string | undefined
  rerank?: RerankOptions | undefined
  /** How long a turn waits; see `Question`. */
  deadlineMs?: number
  log: Log
  now: () => number
}

export interface KnowledgeSearch extends Retrieval {
  readonly index: SearchIndex
  close(): Promise<void>
}

/** Looks in the background whether the indexes have what the database has. The caller closes it. Throws as `openEngines`. */
export async function openKnowledgeSearch(options: KnowledgeSearchOptions): Promise<KnowledgeSearch> {
  const { store, embed, embeddingModel, rerank, deadlineMs, log, now } = options
  const engines = await openEngines(options)
  const embeddings = createEmbeddings({
    store,
    ...(embeddingModel === undefined ? {} : { embed, model: embeddingModel }),
  })
  const { lexical, vectors, whyNoVectors } = engines
  if (whyNoVectors !== undefined && embeddingModel !== undefined) log.warn(whyNoVectors)
  const index = createSearchIndex({
    ...{ store, lexical, vectors, embeddings, log },
    ...(whyNoVectors !== undefined && { whyNoVectors }),
  })
  const retrieval = createRetrieval({
    ...{ store, index, now },
    ...(rerank === undefined ? {} : { rerank: createRerank(rerank) }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  })
  const closing = new AbortController()
  const prepare = async () => {
    const { rebuilt } = await index.catchUp(closing.signal)
    if (rebuilt.length > 0) log.info({ bases: rebuilt.length }, 'indexes of knowledge were built again')
    await retrieval.calibrate(undefined, closing.signal)
  }
  const preparing = prepare().catch((thrown: unknown) => {
    if (!closing.signal.aborted)
      log.warn(
        { errorCode: toAppError(thrown).code },
        'knowledge could not be made ready; looked at again at the next start',
      )
  })
  return {
    ...retrieval,
    index,
    async close() {
      closing.abort()
      await preparing
      await index.close()
      await engines.close()
    },
  }
}
