/** all-MiniLM in a real Ollama, for the tests and benches that need vectors which mean something. */
import path from 'node:path'

import { openProvider } from '#providers/index.ts'
import type { EmbedTexts } from '#rag/embedder.ts'

import { installEmbeddingModel, MINILM } from '../../scripts/setup/embedding-model.mjs'
import { startOllama } from '../../scripts/setup/ollama.mjs'

const CONTEXT_TOKENS = 512
const LIMITS = { connectTimeoutMs: 2_000, headersTimeoutMs: 600_000, idleTimeoutMs: 600_000 }

const BATCH = 32

export interface RealEmbeddings {
  embed: EmbedTexts
  /** Makes the vectors of texts that will be asked for one by one: a call for each takes ten times as long. */
  ahead(texts: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** The caller closes it. */
export async function startRealEmbeddings(dir: string): Promise<RealEmbeddings> {
  const server = await startOllama({
    dataDir: path.join(dir, 'ollama'),
    logFile: path.join(dir, 'ollama.log'),
    models: { [MINILM]: await installEmbeddingModel() },
  })
  const provider = await openProvider('ollama', { baseUrl: server.url, ...LIMITS })
  const made = new Map<string, readonly number[]>()
  const embed: EmbedTexts = async (model, texts, signal) => {
    const known = texts.map((text) => made.get(text))
    if (known.every((vector) => vector !== undefined)) return known
    const call = { model: `${model}:latest`, texts, contextTokens: CONTEXT_TOKENS }
    return (await provider.embed(call, signal)).vectors
  }
  return {
    embed,
    async ahead(texts) {
      for (let start = 0; start < texts.length; start += BATCH) {
        const batch = texts.slice(start, start + BATCH)
        const vectors = await embed(MINILM, batch, new AbortController().signal)
        for (const [index, text] of batch.entries()) made.set(text, vectors[index] ?? [])
      }
    },
    async close() {
      await provider.close()
      await server.stop()
    },
  }
}
