import { defineConfig } from 'drizzle-kit'

export default defineConfig({
  dialect: 'sqlite',
  schema: './sidecar/src/store/tables.sqlite.ts',
  out: './sidecar/src/store/migrations/sqlite',
})
