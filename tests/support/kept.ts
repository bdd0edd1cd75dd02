/** What a test opened is closed after it, the last first. Imported by a file of tests, it holds for each of them. */
import { afterEach } from 'vitest'

interface Closing {
  close(): Promise<unknown>
}

const opened: Closing[] = []
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
})

/** The same, to be closed after this test. */
export function kept<T extends Closing>(each: T): T {
  opened.push(each)
  return each
}
