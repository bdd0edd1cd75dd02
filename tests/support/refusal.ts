import { inspect } from 'node:util'

import { expect } from 'vitest'

import { AppError } from '#base/errors.ts'

/** A file that is refused is at fault itself, or too large. Any other code, `internal` above all, is a fault of ours. */
export function asRefusal(thrown: unknown): AppError {
  if (!(thrown instanceof AppError)) throw thrown
  if (thrown.code !== 'invalid' && thrown.code !== 'too_large')
    expect.fail(`refused as "${thrown.code}": ${inspect(thrown.cause)}`)
  return thrown
}
