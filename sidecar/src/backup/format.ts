/** What a backup holds, and how it is named inside: whoever makes one and whoever puts it back agree here. */
import { z } from 'zod'

/** What is to be saved, or where it goes. */
export interface House {
  databaseUrl: string
  analyticsDatabaseUrl: string
  dataDir: string
}

/** One of the two; a recipient (`age1…`) needs its identity to be opened. */
export interface BackupKey {
  passphrase?: string
  recipient?: string
  identity?: string
}

export interface Summary {
  madeAt: string
  /** By `database/table`. */
  tables: Record<string, { rows: number; sha256: string }>
  files: number
}

export const FORMAT = 1
export const MANIFEST = 'manifest.json'

/** Folders and files of the data folder that belong to us; a reader of cards may be in the middle of others. */
export const FOLDERS = ['originals', 'pictures', 'knowledge']

export const FILES = ['pseudonym-secret', 'field-key', 'erasures.jsonl']

export const Manifest = z.object({
  format: z.literal(FORMAT, 'is of another version of Troupe'),
  madeAt: z.string(),
  tables: z.record(z.string(), z.object({ rows: z.number(), sha256: z.string() })),
  files: z.number(),
})

/** A file that is not there, which is no fault of the disk. */
export const isAbsence = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT'
