/** The file of erasures and its copy beside the backups: whatever happens to one of them, nobody who was erased is missing from it. */
import { appendFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { beforeEach, describe, expect, test } from 'vitest'

import { copyErasures } from '#backup/erasures-file.ts'
import { openRegister, type Register } from '#privacy/register.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

let dir: string
let store: Store
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-register-'))
  for (const name of ['one', 'two', 'backups']) await mkdir(path.join(dir, name))
  store = await openStore('file::memory:')
  return async () => {
    await store.close()
    await rm(dir, { recursive: true, force: true })
  }
})

const open = (folder: string, on = store): Promise<Register> =>
  openRegister({ store: on, secret: 'a secret', dataDir: path.join(dir, folder), now: () => 1 })
const fileIn = (folder: string) => path.join(dir, folder, 'erasures.jsonl')

/** Who is known when there is nothing but this file. */
async function knownFrom(folder: string, names: readonly string[]): Promise<string[]> {
  const empty = await openStore('file::memory:')
  const register = await open(folder, empty)
  await empty.close()
  return names.filter((name) => register.isBuried('person', name))
}

describe('the file of erasures', () => {
  test('gets what was erased by another process with a data folder of its own', async () => {
    const [one, two] = [await open('one'), await open('two')]
    await one.bury('person', ['ann'])
    await two.bury('person', ['bob'])
    await Promise.all([one.refresh(), two.refresh()])
    for (const folder of ['one', 'two'])
      expect(await knownFrom(folder, ['ann', 'bob'])).toEqual(['ann', 'bob'])
    const before = await readFile(fileIn('one'), 'utf8')
    await one.refresh()
    expect(await readFile(fileIn('one'), 'utf8')).toBe(before)
  })

  test('loses nobody behind a line that a kill cut off', async () => {
    const one = await open('one')
    await one.bury('person', ['ann'])
    await appendFile(fileIn('one'), '{"hash":"cut o')
    await one.bury('person', ['bob'])
    expect(await knownFrom('one', ['ann', 'bob'])).toEqual(['ann', 'bob'])
  })
})

test('who is buried while the table is read anew stays buried', async () => {
  let letGo = (): void => undefined
  let gate = Promise.resolve()
  const select = () => ({
    async from(table: Parameters<ReturnType<Store['db']['select']>['from']>[0]) {
      const rows = await store.db.select().from(table)
      await gate
      return rows
    },
  })
  const db = { ...store.db, select, insert: store.db.insert.bind(store.db) } as unknown as Store['db']
  const register = await open('one', { ...store, db })
  gate = new Promise((resolve) => (letGo = resolve))
  const reading = register.refresh()
  await register.bury('person', ['ann'])
  await rm(fileIn('one'))
  letGo()
  await reading
  expect(register.isBuried('person', 'ann')).toBe(true)
})

describe('the copy beside the backups', () => {
  test('keeps what is in it when the data folder was lost or is another one', async () => {
    await (await open('one')).bury('person', ['ann'])
    await copyErasures(path.join(dir, 'one'), path.join(dir, 'backups'))
    await store.db.delete(store.t.tombstones)
    await (await open('two')).bury('person', ['bob'])
    await copyErasures(path.join(dir, 'two'), path.join(dir, 'backups'))
    expect(await knownFrom('backups', ['ann', 'bob'])).toEqual(['ann', 'bob'])
    await rm(fileIn('two'))
    await copyErasures(path.join(dir, 'two'), path.join(dir, 'backups'))
    expect(await knownFrom('backups', ['ann', 'bob'])).toEqual(['ann', 'bob'])
  })

  test('that cannot be written is told', async () => {
    await (await open('one')).bury('person', ['ann'])
    await writeFile(path.join(dir, 'no folder'), '')
    await expect(copyErasures(path.join(dir, 'one'), path.join(dir, 'no folder'))).rejects.toThrow('ENOTDIR')
  })
})
