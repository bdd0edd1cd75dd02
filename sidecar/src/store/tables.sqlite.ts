/** Input of drizzle-kit for SQLite. */
import { sqliteKit } from './kit.sqlite.ts'
import { defineTables } from './tables.ts'

export const { characters, characterVersions, apiKeys, callRecords, ratings } = defineTables(sqliteKit)
