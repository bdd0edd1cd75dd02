/** What the library has to be rid of with time: the trash of a month ago, its own and that of the knowledge, and the results of old imports. */
import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'

import type { ImportJobs } from './import-jobs.ts'
import type { Library } from './library.ts'

const EVERY_MS = 6 * 3_600_000

interface UpkeepParts {
  library: Pick<Library, 'purge'>
  imports: Pick<ImportJobs, 'purge'>
  /** Of documents that characters look up. */
  knowledge: { purge(): Promise<void> }
  log: Log
}

/** Now and then a few times a day, until it is stopped. Does not keep the process alive. */
export function keepUp({ library, imports, knowledge, log }: UpkeepParts): { stop(): void } {
  async function purge(): Promise<void> {
    try {
      const characters = await library.purge()
      await imports.purge()
      await knowledge.purge()
      if (characters > 0) log.info({ characters }, 'trash emptied')
    } catch (thrown) {
      log.warn(
        { errorCode: toAppError(thrown).code },
        'the trash could not be emptied; it is tried again later',
      )
    }
  }
  void purge()
  const timer = setInterval(() => void purge(), EVERY_MS).unref()
  return { stop: () => clearInterval(timer) }
}
