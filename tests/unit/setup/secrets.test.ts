/** A data folder that a sidecar ran in by itself before `./scripts/up` did. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { beforeEach, expect, test } from 'vitest'

import { createVault } from '#base/vault.ts'
import { openPseudonyms } from '#privacy/pseudonyms.ts'
import { openStore } from '#store/open.ts'

import { openSecrets, ownFieldKeys } from '../../../scripts/setup/secrets.mjs'
import { readConfig } from '../../../sidecar/src/config.ts'
import { keepSecret } from '../../../sidecar/src/secret.ts'

let dataDir: string
beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-secrets-'))
  return () => rm(dataDir, { recursive: true, force: true })
})

test('its people are known under the secrets that are made for it', async () => {
  const store = await openStore('file::memory:')
  const open = (secret: string, keys: readonly [string, ...string[]]) =>
    openPseudonyms({
      ...{ store, secret, vault: createVault(keys), now: () => 1 },
      hasOlderRecords: () => Promise.resolve(false),
    })
  const own = await open(await keepSecret(dataDir, 'pseudonym-secret'), [
    await keepSecret(dataDir, 'field-key'),
  ])
  const secrets = openSecrets(dataDir, {})
  const { fieldKeys, pseudonymSecret } = readConfig({
    TROUPE_PSEUDONYM_SECRET: secrets.pseudonymSecret,
    ...ownFieldKeys(dataDir, secrets),
  })
  const later = await open(pseudonymSecret ?? '', fieldKeys ?? [secrets.pseudonymSecret])
  expect(later.of('person', 'tom')).toBe(own.of('person', 'tom'))
  await store.close()
})

test('a secret that is kept already stays, and a folder without files gets no keys of fields', async () => {
  const first = openSecrets(dataDir, {})
  expect(ownFieldKeys(dataDir, first)).toEqual({})
  await writeFile(path.join(dataDir, 'pseudonym-secret'), 'made by a sidecar that was then refused')
  expect(openSecrets(dataDir, {})).toEqual(first)
})
