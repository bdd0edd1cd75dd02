import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'postgresql',
  schema: './sidecar/src/store/tables.postgres.ts',
  out: './sidecar/src/store/migrations/postgres',
})
