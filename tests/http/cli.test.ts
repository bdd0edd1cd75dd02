import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { runCli } from '#cli/run.ts'

import { ADMIN_KEY, openTestApp, type TestApp } from '../support/app.ts'

let troupe: TestApp
let folder: string

beforeAll(async () => {
  troupe = await openTestApp()
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-cli-'))
})
afterAll(async () => {
  await troupe.close()
  await rm(folder, { recursive: true, force: true })
})

interface Said {
  code: number
  out: string
  err: string
}

async function troupeCommand(args: string[], env: Record<string, string> = {}): Promise<Said> {
  const said = { out: '', err: '' }
  const into = (stream: 'out' | 'err') =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        said[stream] += chunk.toString()
        done()
      },
    })
  const code = await runCli(args, {
    env: { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY, ...env },
    out: into('out'),
    err: into('err'),
  })
  return { code, ...said }
}

describe('import and export', () => {
  test('a character folder goes in with its picture, a second time without a change', async () => {
    const first = await troupeCommand(['import', 'characters/pia', '--json'])
    const again = await troupeCommand(['import', 'characters/pia', '--json'])
    const { results } = JSON.parse(first.out) as { results: { status: string; id: string }[] }
    expect(first.code).toBe(0)
    expect(results).toMatchObject([{ status: 'created', id: 'pia', notes: [] }])
    expect(JSON.parse(again.out)).toMatchObject({ results: [{ status: 'skipped', id: 'pia' }] })
  })

  test('a file that cannot be read is told, and the others go in', async () => {
    const broken = path.join(folder, 'broken.json')
    await writeFile(broken, '{"spec":')
    const said = await troupeCommand(['import', broken, path.join(folder, 'missing.png'), 'characters/benno'])
    expect(said.code).toBe(1)
    expect(said.out).toMatch(/failed.*broken\.json[^]*not valid JSON/)
    expect(said.out).toMatch(/failed.*missing\.png[^]*does not exist/)
    expect(said.out).toMatch(/created\s+benno/)
  })

  test('what is written can be imported again', async () => {
    const target = path.join(folder, 'pia.png')
    expect(await troupeCommand(['export', 'pia', '--format', 'png', '--out', target])).toMatchObject({
      code: 0,
      out: expect.stringContaining(target) as unknown,
    })
    expect((await readFile(target)).subarray(1, 4).toString()).toBe('PNG')
    expect((await troupeCommand(['export', 'nobody'])).err).toContain('no character "nobody"')
    expect(await readdir(folder)).not.toContain('nobody.json')
  })
})

test('a key is shown once, listed without its secret, and ended', async () => {
  const created = JSON.parse((await troupeCommand(['keys', 'create', 'club', '--json'])).out) as {
    id: string
    secret: string
  }
  const models = () =>
    fetch(`${troupe.url}/v1/models`, { headers: { authorization: `Bearer ${created.secret}` } })
  expect((await models()).status).toBe(200)
  const listed = await troupeCommand(['keys', 'list'])
  expect(listed.out).toContain(`${created.id}  active`)
  expect(listed.out).not.toContain(created.secret)
  expect((await troupeCommand(['keys', 'revoke', created.id])).code).toBe(0)
  expect((await troupeCommand(['keys', 'list'])).out).toContain(`${created.id}  revoked`)
  expect((await models()).status).toBe(401)
})

describe('a wrong command line', () => {
  test.each([
    ['no command', [], 0, /Usage/],
    ['--help', ['--help'], 0, /Usage/],
    ['help for one command', ['sync', '--help'], 0, /sync \[--dry-run\]/],
    ['an unknown command', ['dance'], 2, /Unknown command "dance"/],
    ['an unknown option', ['sync', '--loud'], 2, /--loud/],
    ['nothing to import', ['import'], 1, /at least one/],
    ['nothing to export', ['export'], 1, /Name the character/],
    ['a key without a name', ['keys', 'create'], 1, /Name the key/],
    ['no key to end', ['keys', 'revoke'], 1, /id of the key/],
    ['no Open WebUI to sync with', ['sync'], 1, /OPENWEBUI_URL/],
  ])('%s', async (_name, args, code, message) => {
    const said = await troupeCommand(args)
    expect(said.code).toBe(code)
    expect(said.out + said.err).toMatch(message)
  })
})

describe('where no sidecar answers as it should', () => {
  test.each([
    ['no key', { TROUPE_ADMIN_KEY: '' }, /TROUPE_ADMIN_KEY/],
    ['a wrong key', { TROUPE_ADMIN_KEY: 'wrong-key-that-is-long-enough-0123456789' }, /key/],
    ['nobody there', { TROUPE_URL: 'http://127.0.0.1:9' }, /No sidecar answers/],
  ])('%s', async (_name, env, message) => {
    const said = await troupeCommand(['keys', 'list'], env)
    expect(said).toMatchObject({ code: 1, out: '' })
    expect(said.err).toMatch(message)
  })

  test('another server', async () => {
    const other = createServer((_request, answer) => answer.end('<html>'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    const said = await troupeCommand(['keys', 'list'], { TROUPE_URL: `http://127.0.0.1:${port}` })
    other.close()
    expect(said.err).toMatch(/look at TROUPE_URL/)
  })
})
