/** Knowledge over a store, a data folder and a search index: the parts joined, and closed in the opposite order. */
import { and, isNotNull, lt } from 'drizzle-orm'

import type { Log } from '#base/log.ts'
import { createAudit } from '#library/audit.ts'
import { readInChild } from '#rag/read-in-child.ts'
import type { Store } from '#store/store.ts'

import { openBackground } from './background.ts'
import { forgetLostAttachments, openBases } from './bases.ts'
import { createDocuments } from './documents.ts'
import type { Knowledge } from './knowledge.ts'
import { openOriginals } from './originals.ts'
import { createPassages, type Findable } from './passages.ts'
import { createProgressBoard } from './progress.ts'
import { openReadingQueue, type ReadingQueue } from './reading-queue.ts'

/** How long the trash keeps a base. */
const TRASH_MS = 30 * 86_400_000

/** Another replica may have changed who may look into what. */
const REFRESH_MS = 15_000

export interface KnowledgeParts {
  store: Store
  index: Findable
  dataDir: string
  log: Log
  now: () => number
  /** Throws AppError `not_found` for a character that is not there. */
  nameOfCharacter(id: string): Promise<string>
  /** See `ReadingParts`. */
  leaseMs: number
  /** In a process of its own unless told otherwise. */
  read?: typeof readInChild | undefined
}

/** Goes on with what was at work when the process ended. */
export async function openKnowledge(parts: KnowledgeParts): Promise<Knowledge> {
  const { store, index, log, now } = parts
  const audit = createAudit(store, now)
  const originals = await openOriginals(parts.dataDir, parts.now)
  const passages = createPassages(store)
  const board = createProgressBoard(now)
  const shared = { store, index, originals, passages, board, read: parts.read ?? readInChild, log, now }
  // The queue deletes what documents are, and documents wake the queue.
  const queues: ReadingQueue[] = []
  const queue = (): ReadingQueue => {
    const [only] = queues
    if (only === undefined) throw new Error('The queue of documents is not open yet')
    return only
  }
  const documents = createDocuments({ ...shared, audit, queue })
  queues.push(openReadingQueue({ ...shared, leaseMs: parts.leaseMs, remove: documents.remove }))
  const background = openBackground({ ...shared, leaseMs: parts.leaseMs, wakeReading: queue().wake })
  const bases = await openBases({
    ...{ store, index, audit, background, now, recut: shared },
    nameOfCharacter: parts.nameOfCharacter,
    removeDocuments: documents.removeAll,
  })
  const refreshing = setInterval(() => {
    bases.refresh().catch(() => undefined) // The database is away; what was known stays true until it is back.
  }, REFRESH_MS).unref()

  return {
    bases,
    documents,
    async purge() {
      const { knowledgeBases } = store.t
      const old = await store.db
        .select({ id: knowledgeBases.id })
        .from(knowledgeBases)
        .where(and(isNotNull(knowledgeBases.deletedAtMs), lt(knowledgeBases.deletedAtMs, now() - TRASH_MS)))
      for (const { id } of old) await bases.deleteForGood(id, { actor: 'Troupe' })
      await forgetLostAttachments(store)
    },
    async close() {
      clearInterval(refreshing)
      await background.close()
      await queue().close()
    },
  }
}
