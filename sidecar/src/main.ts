/** The process: read the environment, open the app, serve, and drain when told to stop. */
import cluster from 'node:cluster'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { createLog, tellFault } from '#base/log.ts'

import { openApp } from './app.ts'
import { readConfig, type Config } from './config.ts'
import { superviseWorkers } from './workers.ts'

/** After their time is over, answers get this long for their last words, and what is behind them (stores, Open WebUI) to close. */
const CLOSE_MS = 15_000

/** Ctrl-C in a terminal reaches a worker twice: by itself, and from the process above it. What comes later is meant. */
const SAME_SIGNAL_MS = 500

/** The pages lie beside the bundle, or in `dist/` when the source runs. */
function findWebDir(): string {
  const beside = fileURLToPath(new URL('./web', import.meta.url))
  return existsSync(beside) ? beside : fileURLToPath(new URL('../../dist/web', import.meta.url))
}

async function main(): Promise<void> {
  const config = readConfig(process.env)
  if (config.workers === 1 || cluster.isWorker) return serve(config)
  const log = createLog(config.logLevel)
  process.exit(await superviseWorkers({ count: config.workers, stopMs: config.drainMs + CLOSE_MS, log }))
}

async function serve(config: Config): Promise<void> {
  const app = await openApp(config, { webDir: findWebDir() })
  const { url } = await app.listen()
  if (!cluster.isWorker) app.log.info({ url }, 'listening')
  let stoppedAtMs: number | undefined
  const stop = (signal: NodeJS.Signals) => {
    if (stoppedAtMs !== undefined) {
      if (performance.now() - stoppedAtMs > SAME_SIGNAL_MS) app.hurry()
      return
    }
    stoppedAtMs = performance.now()
    app.log.info({ signal }, 'stopping')
    app.close(config.drainMs).then(
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
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

main().catch((error: unknown) => {
  process.stderr.write(tellFault(error))
  process.exit(1)
})
