/** Input of drizzle-kit for PostgreSQL. */
import { postgresKit } from './kit.postgres.ts'
import { defineTables } from './tables.ts'

export const {
  characters,
  characterVersions,
  auditEvents,
  importJobs,
  importResults,
  lorebooks,
  apiKeys,
  roles,
  usageSums,
  callRecords,
  ratings,
  knowledgeBases,
  knowledgeAttachments,
  knowledgeDocuments,
  knowledgeChunks,
  embeddings,
} = defineTables(postgresKit)
