/** A log that nobody reads. */
import { createLog } from '#base/log.ts'

export const silentLog = createLog('silent')
