/** What the commands about knowledge share: what the sidecar answers, and how far documents are. */
import { z } from 'zod'

export const Base = z.looseObject({
  id: z.string(),
  name: z.string(),
  characterIds: z.array(z.string()),
  documents: z.record(z.string(), z.number()),
  chunks: z.number(),
  searchedBy: z.string(),
  settings: z.record(z.string(), z.unknown()),
  rebuilding: z.object({ done: z.number(), total: z.number() }).nullable(),
})
export type Base = z.infer<typeof Base>
export const Bases = z.looseObject({ bases: z.array(Base) })

export const Note = z.looseObject({ message: z.string() })
export const Document = z.looseObject({
  id: z.string(),
  file: z.string(),
  state: z.string(),
  progress: z.looseObject({
    pagesRead: z.number(),
    pagesTotal: z.number().nullable(),
    chunksEmbedded: z.number(),
    chunksTotal: z.number().nullable(),
    secondsLeft: z.number().nullable(),
  }),
  failure: Note.nullable(),
  notes: z.array(Note),
})
export type Document = z.infer<typeof Document>
export const Documents = z.looseObject({ documents: z.array(Document) })

/** How often a command that waits asks again. */
export const POLL_MS = 300

export const at = (kind: 'bases' | 'documents' | 'characters' | 'chunks', id: string, rest = '') =>
  `/troupe/api/knowledge/${kind}/${encodeURIComponent(id)}${rest}`

export const countText = (documents: Base['documents']): string =>
  Object.entries(documents)
    .filter(([, number]) => number > 0)
    .map(([state, number]) => `${number} ${state}`)
    .join(', ') || 'no documents'

/** States of a document that is not at its end. */
export const WORKING = new Set(['waiting', 'parsing', 'embedding'])

/** Reading is the first half, finding the second. */
export function shareOf(documents: readonly Document[]): number {
  const shares = documents.map(({ state, progress }) => {
    if (!WORKING.has(state)) return 1
    if (progress.chunksTotal !== null)
      return 0.5 + 0.5 * (progress.chunksEmbedded / Math.max(1, progress.chunksTotal))
    return 0.5 * (progress.pagesRead / Math.max(1, progress.pagesTotal ?? 1))
  })
  return shares.length === 0 ? 1 : shares.reduce((sum, share) => sum + share, 0) / shares.length
}

/** Of one document, in words. */
export function stepOf({ state, file, progress }: Document): string {
  const left = progress.secondsLeft === null ? '' : `, about ${progress.secondsLeft} s left`
  if (state === 'waiting') return `${file} waits`
  if (progress.chunksTotal !== null)
    return `${file}: passage ${progress.chunksEmbedded} of ${progress.chunksTotal}${left}`
  return progress.pagesTotal === null
    ? `${file} is read`
    : `${file}: page ${progress.pagesRead} of ${progress.pagesTotal}${left}`
}
