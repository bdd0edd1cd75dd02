import { expect, test } from 'vitest'

import { createSampler } from '#chat/sampler.ts'

import { sampleAsk, sampleMaterials } from '../../support/samples.ts'
import { silentLog } from '../../support/silent-log.ts'

const { speaker } = sampleMaterials({ extensions: { troupe: { sampling: { share: 1 } } } })
const sampler = createSampler({
  samples: { keep: () => Promise.resolve() },
  isHidden: (person) => person === 'objects',
  pseudonym: (kind, id) => `${kind} ${id}`,
  log: silentLog,
  chance: () => 0,
})

test.each([
  ['a turn', {}, true],
  ['a title', { task: 'title_generation' as const }, false],
  ['what we ask ourselves, to read a persona ahead', { isWarmUp: true as const }, false],
  ['a turn of somebody who objects', { subUser: 'objects' }, false],
])('of a character that wants samples, %s', (_name, over, isKept) => {
  expect(sampler.begin(sampleAsk(over), speaker) !== undefined).toBe(isKept)
})
