/**
 * Who must not be known: people who objected, and people and chats that were erased. Kept as keyed hashes, which say nothing
 * without the secret; the erased ones also in a file outside of the databases, so that a restored backup does not bring
 * anybody back.
 */
import { createHmac } from 'node:crypto'
import { open, readFile } from 'node:fs/promises'
import path from 'node:path'

import { eq } from 'drizzle-orm'
import { z } from 'zod'

import type { Store } from '#store/store.ts'

export type TombstoneKind = 'person' | 'chat'

export interface Tombstone {
  hash: string
  kind: TombstoneKind
  atMs: number
}

export interface Register {
  /** True for who objected or was erased: counted, but not known. From memory; other processes are told. */
  isHidden(personId: string): boolean
  objects(personId: string): boolean
  setObjection(personId: string, objects: boolean): Promise<void>
  /** Durable when it resolves. `names`: the id, and pseudonyms of it. */
  bury(kind: TombstoneKind, names: readonly string[]): Promise<void>
  isBuried(kind: TombstoneKind, name: string): boolean
  hashOf(kind: TombstoneKind, name: string): string
  /**
   * Reads what other processes wrote; puts into the database what a restored one does not know any more, and into the file what
   * was buried beside another data folder.
   */
  refresh(): Promise<void>
  /** How many names of erased ones are known here; never fewer than before. */
  readonly buriedNames: number
}

/** Beside the databases; only hashes stand in it. */
const ERASURES_FILE = 'erasures.jsonl'

const Line = z.object({ hash: z.string(), kind: z.enum(['person', 'chat']), atMs: z.number() })

interface Parts {
  store: Store
  secret: string
  dataDir: string
  now: () => number
}

export async function openRegister({ store, secret, dataDir, now }: Parts): Promise<Register> {
  const { db, t } = store
  const key = createHmac('sha256', secret).update('tombstones').digest()
  const file = path.join(dataDir, ERASURES_FILE)
  /** Only ever more: somebody may be buried while this is read anew. */
  const buried = new Set<string>()
  let objecting = new Set<string>()

  const hashOf = (kind: TombstoneKind, name: string) =>
    createHmac('sha256', key).update(`${kind}\0${name}`).digest('base64url')
  const subjectOf = (personId: string) => hashOf('person', personId)

  /** Answers what the file does not have. */
  async function learn(): Promise<Tombstone[]> {
    const rows = await db.select().from(t.tombstones)
    const known = new Set(rows.map(({ hash }) => hash))
    const written = await readErasures(file)
    const missing = written.filter(({ hash }) => !known.has(hash))
    if (missing.length > 0) await db.insert(t.tombstones).values(missing).onConflictDoNothing()
    for (const { hash } of [...rows, ...missing]) buried.add(hash)
    objecting = new Set((await db.select().from(t.objections)).map(({ subject }) => subject))
    const inFile = new Set(written.map(({ hash }) => hash))
    return rows.flatMap(({ hash, kind, atMs }) =>
      inFile.has(hash) ? [] : [{ hash, kind: kind as TombstoneKind, atMs }],
    )
  }

  // A disk that takes nothing keeps nobody from being known as erased.
  await learn()
  return {
    isHidden: (personId) =>
      (objecting.size > 0 || buried.size > 0) &&
      (objecting.has(subjectOf(personId)) || buried.has(subjectOf(personId))),
    objects: (personId) => objecting.has(subjectOf(personId)),
    async setObjection(personId, objects) {
      const subject = subjectOf(personId)
      if (objects) await db.insert(t.objections).values({ subject, atMs: now() }).onConflictDoNothing()
      else await db.delete(t.objections).where(eq(t.objections.subject, subject))
      if (objects) objecting.add(subject)
      else objecting.delete(subject)
    },
    async bury(kind, names) {
      const stones = names.map((name) => ({ hash: hashOf(kind, name), kind, atMs: now() }))
      const fresh = stones.filter(({ hash }) => !buried.has(hash))
      if (fresh.length === 0) return
      // The file first: a database that fails now leaves an erasure that is known, and not one that is forgotten.
      await append(file, fresh)
      await db.insert(t.tombstones).values(fresh).onConflictDoNothing()
      for (const { hash } of fresh) buried.add(hash)
    },
    isBuried: (kind, name) => buried.size > 0 && buried.has(hashOf(kind, name)),
    hashOf,
    async refresh() {
      const unwritten = await learn()
      if (unwritten.length > 0) await append(file, unwritten)
    },
    get buriedNames() {
      return buried.size
    },
  }
}

/** What the file knows; a last line that a kill cut off is left out. */
async function readErasures(file: string): Promise<Tombstone[]> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.split('\n').flatMap((line) => {
    if (line === '') return []
    try {
      return [Line.parse(JSON.parse(line))]
    } catch {
      return []
    }
  })
}

async function append(file: string, stones: readonly Tombstone[]): Promise<void> {
  const handle = await open(file, 'a', 0o600)
  try {
    // The line break first: a line that a kill cut off must not take the next one with it.
    await handle.write(`\n${stones.map((stone) => `${JSON.stringify(stone)}\n`).join('')}`)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
