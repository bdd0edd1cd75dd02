/** The process: read the environment, open the app, serve, and drain when told to stop. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { openApp } from './app.ts'
import { ConfigError, readConfig } from './config.ts'

/** Running answers get this long to finish after SIGTERM. */
const DRAIN_MS = 10_000

/** The pages lie beside the bundle, or in `dist/` when the source runs. */
function findWebDir(): string {
  const beside = fileURLToPath(new URL('./web', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../../dist/web', import.meta.url))
}

async function main(): Promise<void> {
  const app = await openApp(readConfig(process.env), { webDir: findWebDir() })
  const { url } = await app.listen()
  app.log.info({ url }, 'listening')
  const stop = (signal: NodeJS.Signals) => {
    app.log.info({ signal }, 'stopping')
    app.close(DRAIN_MS).then(
      () => process.exit(0),
      (error: unknown) => {
        app.log.error({ error }, 'did not stop cleanly')
        process.exit(1)
      },
    )
  }
  process.once('SIGTERM', stop)
  process.once('SIGINT', stop)
}

main().catch((error: unknown) => {
  // A fault of the configuration is text for people; everything else is for the maintainer, with its stack.
  process.stderr.write(
    error instanceof ConfigError
      ? `${error.message}\n`
      : `${String(error instanceof Error ? error.stack : error)}\n`,
  )
  process.exit(1)
})
