/** The process: read the environment, open the app, serve, and drain when told to stop. */
import cluster from 'node:cluster'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { AppError } from '#base/errors.ts'
import { createLog, describeError } from '#base/log.ts'

import { openApp } from './app.ts'
import { ConfigError, readConfig, type Config } from './config.ts'
import { superviseWorkers } from './workers.ts'

/** Running answers get this long to finish after SIGTERM. */
const DRAIN_MS = 10_000
/** And what is behind them (stores, Open WebUI) this long to close. */
const CLOSE_MS = 10_000

/** The pages lie beside the bundle, or in `dist/` when the source runs. */
function findWebDir(): string {
  const beside = fileURLToPath(new URL('./web', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../../dist/web', import.meta.url))
}

async function main(): Promise<void> {
  const config = readConfig(process.env)
  if (config.workers === 1 || cluster.isWorker) return serve(config)
  const log = createLog(config.logLevel)
  process.exit(await superviseWorkers({ count: config.workers, stopMs: DRAIN_MS + CLOSE_MS, log }))
}

async function serve(config: Config): Promise<void> {
  const app = await openApp(config, { webDir: findWebDir() })
  const { url } = await app.listen()
  if (!cluster.isWorker) app.log.info({ url }, 'listening')
  let isStopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) return
    isStopping = true
    app.log.info({ signal }, 'stopping')
    app.close(DRAIN_MS).then(
      () => process.exit(0),
      (error: unknown) => {
        app.log.error({ error }, 'did not stop cleanly')
        process.exit(1)
      },
    )
  }
  // Node itself would print the error's fields, which may quote a request or a password.
  const crash = (error: unknown) => {
    app.log.error({ error }, 'crashed')
    process.exit(1)
  }
  process.once('uncaughtException', crash)
  process.once('unhandledRejection', crash)
  // Ctrl-C in a terminal reaches a worker twice: by itself, and from the process above it.
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

main().catch((error: unknown) => {
  // A fault of the configuration is text for people; everything else is for the maintainer, with its stack but
  // without foreign messages, which may quote a password.
  process.stderr.write(
    error instanceof ConfigError
      ? `${error.message}\n`
      : `${error instanceof AppError ? error.message : 'Troupe could not start'}\n${JSON.stringify(describeError(error), null, 2)}\n`,
  )
  process.exit(1)
})
