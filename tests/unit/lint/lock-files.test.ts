import { readFileSync } from 'node:fs'

import { expect, test } from 'vitest'

interface Lock {
  packages: Record<string, { integrity?: string; resolved?: string; link?: boolean }>
}

test('every Node package is locked with its hash, and no download host is named', () => {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8')) as Lock
  const installed = Object.entries(packages).filter(([name]) => name !== '')
  expect(installed.length).toBeGreaterThan(100)
  expect(installed.filter(([, { integrity }]) => integrity === undefined).map(([name]) => name)).toEqual([])
  expect(installed.filter(([, { resolved }]) => resolved !== undefined).map(([name]) => name)).toEqual([])
})
