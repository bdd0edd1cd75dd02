/** Sources that plugins bring: asked beside the character's own documents, each inside a deadline, and trusted with nothing. */
import { z } from 'zod'

import type { Log } from '#base/log.ts'
import { GuestDocument } from '#knowledge/guest-document.ts'
import type { Passage } from '#prompt/passages.ts'

/** Finds documents for a question. The answer has the shape of LangChain's documents. Rejects when it likes: nothing depends on it. */
export type GuestRetriever = (question: string, options: { signal: AbortSignal }) => Promise<unknown>

export interface GuestSources {
  /** Best first, source by source; empty for names that no plugin brings. Never rejects. */
  ask(
    names: readonly string[],
    question: { text: string; budgetCharacters: number; deadlineMs?: number },
  ): Promise<Omit<Passage, 'reference'>[]>
}

const MOST_DOCUMENTS = 8

const Documents = z.array(GuestDocument)

export function createGuestSources({
  retrievers,
  clean,
  log,
  deadlineMs: usualDeadlineMs,
}: {
  retrievers: ReadonlyMap<string, GuestRetriever>
  /** Takes out what hides in a text. */
  clean: (text: string) => string
  log: Log
  /** As for our own documents; of questions that name none. */
  deadlineMs: number
}): GuestSources {
  async function askOne(
    name: string,
    text: string,
    deadlineMs: number,
  ): Promise<Omit<Passage, 'reference'>[]> {
    const retriever = retrievers.get(name)
    if (retriever === undefined) return []
    const signal = AbortSignal.timeout(deadlineMs)
    const late = new Promise<undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
    })
    try {
      const documents = Documents.parse(await Promise.race([retriever(text, { signal }), late]))
      return documents.slice(0, MOST_DOCUMENTS).map(({ pageContent, metadata }) => ({
        documentId: `${name}:${metadata?.source ?? ''}`,
        label: clean(metadata?.title ?? metadata?.source ?? name),
        text: clean(pageContent),
        ...{ page: null, similarity: null, chunkIds: [] },
      }))
    } catch {
      // The reason may quote the question.
      log.warn({ source: name, late: signal.aborted }, 'a source of a plugin gave nothing')
      return []
    }
  }

  return {
    async ask(names, { text, budgetCharacters, deadlineMs = usualDeadlineMs }) {
      const found = (await Promise.all(names.map((name) => askOne(name, text, deadlineMs)))).flat()
      let left = budgetCharacters
      return found.filter((each) => each.text !== '' && (left -= each.text.length) >= 0)
    },
  }
}
