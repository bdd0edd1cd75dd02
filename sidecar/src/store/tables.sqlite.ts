/** Input of drizzle-kit for SQLite. */
import { sqliteKit } from './kit.sqlite.ts'
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
  loreHits,
  passageHits,
  ratings,
  knowledgeBases,
  knowledgeAttachments,
  knowledgeDocuments,
  knowledgeChunks,
  embeddings,
  rollUps,
  itemRollUps,
  personDays,
  people,
  peopleRollUps,
  cohortRollUps,
  rollUpQueue,
  rollUpMarks,
  examQuestions,
  examRuns,
} = defineTables(sqliteKit)
