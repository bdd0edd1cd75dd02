import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { expect, test } from 'vitest'

import { openOriginals } from '#knowledge/originals.ts'

const HOUR_S = 3_600

test('a start takes away uploads that were broken off, and none that another process receives', async () => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-originals-'))
  const arriving = path.join(dataDir, 'knowledge', 'arriving')
  await mkdir(arriving, { recursive: true })
  const nowS = Math.floor(Date.now() / 1_000)
  for (const [name, ageS] of [
    ['broken off', 2 * HOUR_S],
    ['arriving', 60],
  ] as const) {
    await writeFile(path.join(arriving, name), 'half of a file')
    await utimes(path.join(arriving, name), nowS - ageS, nowS - ageS)
  }
  await openOriginals(dataDir, () => nowS * 1_000)
  expect(await readdir(arriving)).toEqual(['arriving'])
  await rm(dataDir, { recursive: true })
})
