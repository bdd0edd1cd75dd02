/** Input of drizzle-kit for PostgreSQL. */
import { postgresKit } from './kit.postgres.ts'
import { defineTables } from './tables.ts'

export const { characters, characterVersions, apiKeys, callRecords, ratings } = defineTables(postgresKit)
