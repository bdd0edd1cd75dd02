import { expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { tellFault } from '#base/log.ts'

const FOREIGN = Object.assign(new Error('password "hunter2" is wrong'), { code: '28P01' })

test.each([
  ['of the settings', new AppError('invalid', 'Set it.', { cause: FOREIGN })],
  ['of a server', new AppError('unavailable', 'Start it.', { cause: FOREIGN })],
  ['of a key that is not there', new AppError('internal', 'Add it.')],
])('a fault %s is one sentence', (_name, fault) => {
  expect(tellFault(fault)).toBe(`${fault.message}\n`)
})

test.each([
  ['foreign', FOREIGN, 'Troupe could not start\n{'],
  ['of ours', new AppError('internal', 'Broken.', { cause: FOREIGN }), 'Broken.\n{'],
])('a fault that is %s has its place and its code, and no foreign message', (_name, fault, begin) => {
  const text = tellFault(fault)
  expect(text.startsWith(begin)).toBe(true)
  expect(text).toContain('28P01')
  expect(text).toContain('log.test.ts')
  expect(text).not.toContain('hunter2')
})
