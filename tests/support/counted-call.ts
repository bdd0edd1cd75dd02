/** A call as roll-ups count it; a test names only what it is about. */
import type { CountedCall } from '#analytics/cell.ts'

import { sampleRecord } from './sample-record.ts'

export function countedCall(over: Partial<CountedCall> = {}): CountedCall {
  return { ...sampleRecord(), loreTokens: 0, isRegeneration: false, rating: 0, ...over }
}
