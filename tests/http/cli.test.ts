import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'

import { runCli } from '#cli/run.ts'

import { ADMIN_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../support/fake-open-webui.ts'
import { sampleCard } from '../support/samples.ts'
import { zipOf } from '../support/zip.ts'

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

describe('the library', () => {
  const cardOf = (name: string, over = {}) =>
    Buffer.from(
      JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name, ...over }) }),
    )
  const save = async (name: string, bytes: Buffer) => {
    const file = path.join(folder, name)
    await mkdir(path.dirname(file), { recursive: true })
    await writeFile(file, bytes)
    return file
  }
  const saying = async (...args: string[]) => {
    const said = await troupeCommand(args)
    expect(said.err).toBe('')
    expect(said.code, said.out).toBe(0)
    return said.out
  }

  test('takes a folder of cards, as deep as it goes, and a zip archive with its progress', async () => {
    await save('deep/one.json', cardOf('Deep One'))
    await save('deep/down/two.json', cardOf('Deep Two'))
    expect(await saying('import', path.join(folder, 'deep'))).toMatch(/deep-two[^]*deep-one/)
    const archive = zipOf([
      { name: 'a.json', content: cardOf('Packed One') },
      { name: 'b.json', content: cardOf('Packed Two') },
      { name: 'c.json', content: 'no card' },
    ])
    const said = await troupeCommand(['import', await save('many.zip', archive)])
    expect(said).toMatchObject({ code: 1, err: '' })
    expect(said.out).toMatch(/3 files[^]*created 2, failed 1[^]*failed\s+-\s+\(c\.json\)/)
    expect(await saying('imports', 'list')).toMatch(/done\s+3\/3\s+many\.zip/)
    expect(await saying('list', '--search', 'packed')).toMatch(/packed-one.*\n.*packed-two/)
  })

  test(
    'names every file of an archive that failed, and says of a stopped one how to go on',
    { timeout: 90_000 },
    async () => {
      const noCards = Array.from({ length: 1_001 }, (_, at) => ({
        name: `${String(at)}.json`,
        content: 'no card',
      }))
      const failing = await troupeCommand(['import', await save('none.zip', zipOf(noCards))])
      expect(failing.out.match(/^failed +- /gm)).toHaveLength(1_001)

      const cards = Array.from({ length: 400 }, (_, at) => ({
        name: `${String(at)}.json`,
        content: cardOf(`Stopped ${String(at)}`),
      }))
      const importing = troupeCommand(['import', await save('stopped.zip', zipOf(cards))])
      const running = /^(\S+)\s+running .*stopped\.zip/m
      await vi.waitUntil(async () => running.test(await saying('imports', 'list')), 30_000)
      const id = running.exec(await saying('imports', 'list'))?.[1] ?? ''
      await saying('imports', 'stop', id)
      expect(await importing).toMatchObject({
        code: 1,
        out: expect.stringContaining(`imports resume ${id}`) as string,
      })
    },
  )

  test('edits by import, shows versions and differences, publishes, rolls back, and tells who did it', async () => {
    await saying('import', await save('ed.json', cardOf('Ed')))
    const edited = await save('ed2.json', cardOf('Ed', { scenario: 'Calm.' }))
    await saying('import', edited, '--into', 'ed', '--draft', '--note', 'quieter')
    expect(await saying('versions', 'ed')).toMatch(/\* +1 [^]*  +2 .*never published.*quieter/)
    expect(await saying('diff', 'ed', '1', '2')).toBe('scenario\n  - A storm is coming.\n  + Calm.\n')
    await saying('set', 'ed', 'nickname=Eddie')
    expect(await saying('diff', 'ed', '2', '3')).toBe('nickname\n  + Eddie\n')
    expect(await saying('diff', 'ed', '3', '2')).toBe('nickname\n  - Eddie\n')
    expect(await saying('publish', 'ed', '2')).toContain('ed: version 2')
    expect(await saying('rollback', 'ed')).toContain('ed: version 1 of 3')
    expect(await saying('unpublish', 'ed')).toContain('ed: draft 3')
    expect(await saying('delete', 'ed')).toContain('30 days')
    expect(await saying('list', '--state', 'trash')).toContain('ed ')
    await saying('restore', 'ed')
    await saying('groups', 'ed', 'Club, Staff')
    expect(await saying('groups', 'ed')).toBe('ed: Club, Staff\n')
    expect(await saying('groups', 'ed', 'everybody')).toBe('ed: as Open WebUI says\n')
    expect(await saying('audit', 'ed')).toMatch(
      /groups [^]*restore [^]*delete [^]*rollback [^]*publish [^]*import .*admin/,
    )
    await saying('delete', 'ed', '--forever')
    expect((await troupeCommand(['versions', 'ed'])).err).toContain('no character "ed"')
  })

  test('sets fields and options as a new version, and takes them away again', async () => {
    await saying('import', await save('sid.json', cardOf('Sid')))
    const wishes = ['scenario=Calm = dull.', 'tags=["sea"]', 'model=small', 'options.temperature=0.7']
    expect(await saying('set', 'sid', ...wishes, '--publish', '--note', 'calmer')).toBe('sid: version 2\n')
    expect(await saying('set', 'sid', 'options.seed=7', 'options.temperature=', 'nickname=')).toBe(
      'sid: version 2 of 3\n',
    )
    const { card } = (await (
      await troupe.request('GET', '/troupe/api/characters/sid/versions/3')
    ).json()) as {
      card: unknown
    }
    expect(card).toMatchObject({
      ...{ scenario: 'Calm = dull.', tags: ['sea'] },
      extensions: { troupe: { model: 'small', options: { seed: 7 } } },
    })
    expect(await saying('versions', 'sid')).toContain('calmer')
    for (const [wish, fault] of [
      ['options.temperature=hot', /card\.extensions\.troupe\.options\.temperature.*makes no sense/],
      ['options.heat=1', /options\.heat/],
      ['modle=small', /no field of a card and no option/],
      ['name', /no field of a card and no option/],
      ['tags=sea', /"card\.tags"/],
    ] as const)
      expect((await troupeCommand(['set', 'sid', wish])).err).toMatch(fault)
  })

  test('leaves as one archive, which comes back without a change', async () => {
    const target = path.join(folder, 'library.zip')
    expect(await saying('archive', '--out', target)).toContain(target)
    expect(await saying('import', target)).toMatch(/^Import \S+ \d+ files\nskipped \d+\n(skipped .*\n)+$/)
    expect(await saying('doctor', target)).toMatch(/fine .*library\.zip:cards\/pia\/1\.json.* Pia/)
  })

  test('as an archive that lacks files tells how many, and ends with 1', async () => {
    const target = path.join(folder, 'lacking.zip')
    const originals = path.join(troupe.dataDir, 'originals')
    await rename(originals, `${originals}-away`)
    const said = await troupeCommand(['archive', '--out', target])
    const inJson = await troupeCommand(['archive', '--out', target, '--json'])
    await rename(`${originals}-away`, originals)
    expect(said).toMatchObject({
      code: 1,
      out: expect.stringMatching(/that it lacks.*: [1-9]\d*\./) as unknown,
    })
    expect(JSON.parse(inJson.out)).toMatchObject({ file: target, missing: expect.any(Number) as unknown })
    const whole = await troupeCommand(['archive', '--out', target, '--json'])
    expect([whole.code, JSON.parse(whole.out)]).toMatchObject([0, { missing: 0 }])
  })

  test('an archive tells what became of every card, with its notes, whatever its name looks like', async () => {
    const archive = zipOf([
      { name: 'plain.json', content: cardOf('Zipped Plain') },
      { name: 'odd.json', content: cardOf('Zipped Odd', { tags: null }) },
    ])
    const loud = await save('CARDS.ZIP', archive)
    const said = await saying('import', loud)
    expect(said).toMatch(/created 2\n[^]*created +zipped-plain +\(plain\.json\)/)
    expect(said).toMatch(/created +zipped-odd +\(odd\.json\)\n +\S+/)
    expect(JSON.parse(await saying('import', loud, '--json'))).toMatchObject({
      results: [{ status: 'skipped' }, { status: 'skipped' }],
      imports: [{ name: 'CARDS.ZIP', totalFiles: 2, counts: { skipped: 2 } }],
    })
    expect(await saying('doctor', loud)).toMatch(/mended .*CARDS\.ZIP:odd\.json[^]*2 files: 0 cannot/)
  })

  test('what only a single card can have is refused for an archive, and nothing is sent', async () => {
    const archive = await save('wish.zip', zipOf([{ name: 'a.json', content: cardOf('Wished') }]))
    for (const wish of [
      ['--into', 'pia'],
      ['--note', 'new'],
    ]) {
      const said = await troupeCommand(['import', 'characters/pia', archive, '--draft', ...wish])
      expect(said).toMatchObject({ code: 1, out: '' })
      expect(said.err).toMatch(/wish\.zip is an archive.*--into and --note/)
    }
    expect((await troupeCommand(['versions', 'wished'])).err).toContain('no character "wished"')
  })

  test('a folder without cards is told', async () => {
    await mkdir(path.join(folder, 'empty'), { recursive: true })
    const said = await troupeCommand(['import', path.join(folder, 'empty')])
    expect(said).toMatchObject({ code: 1 })
    expect(said.out).toMatch(/failed.*empty[^]*holds no card/)
  })

  test('a value is a text where the field is one, and the version to publish is asked for', async () => {
    await saying('import', await save('val.json', cardOf('Val')))
    await saying('set', 'val', 'scenario=1984', 'personality=true', 'name=42', 'tags=["7"]', 'nickname="Al"')
    const { card } = (await (
      await troupe.request('GET', '/troupe/api/characters/val/versions/2')
    ).json()) as { card: unknown }
    expect(card).toMatchObject({
      ...{ scenario: '1984', personality: 'true', name: '42', tags: ['7'], nickname: 'Al' },
    })
    expect((await troupeCommand(['publish', 'val'])).err).toMatch(/version to publish.*"versions val"/)
    expect((await troupeCommand(['publish', 'val', 'first'])).err).toMatch(/"first" is no version/)
    expect((await troupeCommand(['rollback', 'val', 'v1.5'])).err).toMatch(/"v1.5" is no version/)
    expect(await saying('publish', 'val', 'v2')).toContain('val: ')
  })

  test('a doctor reads cards without a sidecar, and its exit code tells whether all can be read', async () => {
    await save('ward/fine.json', cardOf('Fine'))
    await save('ward/README.md', Buffer.from('no card, and not called one'))
    await save('ward/odd.json', cardOf('Odd', { tags: null }))
    const ward = path.join(folder, 'ward')
    const nowhere = { TROUPE_URL: 'http://127.0.0.1:9', TROUPE_ADMIN_KEY: '' }
    const mended = await troupeCommand(['doctor', ward], nowhere)
    expect(mended).toMatchObject({ code: 0, err: '' })
    expect(mended.out).toMatch(
      /fine .*fine\.json[^]*mended .*odd\.json[^]*tags: [^]*2 files: 0 cannot be read, 1 were/,
    )
    await save('ward/broken.json', Buffer.from('{'))
    const broken = await troupeCommand(['doctor', ward, '--json'], nowhere)
    expect(broken.code).toBe(1)
    const { files } = JSON.parse(broken.out) as { files: { error: string | null }[] }
    expect(files.map(({ error }) => error !== null)).toEqual([true, false, false])
  })

  test('lorebooks are added, attached, tested, linted, written and deleted', async () => {
    const entry = (key: string) => ({
      ...{ keys: [key], content: `About the ${key}.`, name: key, extensions: {}, enabled: true },
      ...{ insertion_order: 1, use_regex: false },
    })
    const book = { name: 'Coast', extensions: {}, entries: [entry('reef'), entry('a')] }
    const file = await save('coast.json', Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: book })))
    const added = await saying('lorebooks', 'import', file)
    expect(added).toMatch(/created\s+coast[^]*No character has it yet: "lorebooks attach coast CHARACTER"/)
    expect(await saying('lorebooks', 'list')).toMatch(/Coast +\(no character\)/)
    expect(await saying('lorebooks', 'import', file)).toMatch(/skipped\s+coast[^]*here already/)
    await saying('import', await save('guide.json', cardOf('Guide')))
    const other = { ...book, name: 'Hills', entries: [entry('hill')] }
    const hills = await save('hills.json', Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: other })))
    await saying('lorebooks', 'import', hills, '--for', 'guide')
    expect(await saying('lorebooks', 'list')).toMatch(/Hills +\(guide\)/)
    await saying('lorebooks', 'delete', 'hills')
    expect(await saying('lorebooks', 'attach', 'coast', 'guide')).toBe('coast: guide\n')
    expect(await saying('lorebooks', 'list')).toMatch(/coast +2 entries +Coast +\(guide\)/)
    const tested = await saying('lorebooks', 'test', 'guide', '--say', 'What about the reef?')
    expect(tested).toMatch(/on +reef +"reef" in the newest message \(pass 1, before character\)\noff +a /)
    expect(await saying('lorebooks', 'test', file, '--say', 'A mill.')).toMatch(/off +reef/)
    expect(await saying('lorebooks', 'lint', '--book', 'coast')).toContain('"a"')
    const target = path.join(folder, 'coast-out.json')
    await saying('lorebooks', 'export', 'coast', '--out', target)
    expect(JSON.parse(await readFile(target, 'utf8'))).toMatchObject({
      spec: 'lorebook_v3',
      data: { entries: [{}, {}] },
    })
    const better = { ...book, entries: book.entries.slice(0, 1) }
    const edited = await save(
      'edited.json',
      Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: better })),
    )
    const changed = await saying('lorebooks', 'change', 'coast', '--name', 'The shore', '--file', edited)
    expect(changed).toBe('coast: The shore, 1 entries, guide\n')
    expect(await saying('lorebooks', 'list')).toMatch(/coast +1 entries +The shore +\(guide\)/)
    await saying('lorebooks', 'delete', 'coast')
    expect(await saying('lorebooks', 'test', 'guide', '--say', 'the reef')).toBe('0 entries, 0 tokens\n')
  })

  test('a lorebook goes to several characters, or to none', async () => {
    for (const name of ['Tara', 'Tom']) await saying('import', await save(`${name}.json`, cardOf(name)))
    const book = { name: 'Tarn', extensions: {}, entries: [] }
    const file = await save('tarn.json', Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: book })))
    await saying('lorebooks', 'import', file)
    expect(await saying('lorebooks', 'attach', 'tarn', 'tara', 'tom')).toBe('tarn: tara, tom\n')
    expect(await saying('lorebooks', 'attach', 'tarn', 'tom,')).toBe('tarn: tom\n')
    expect(await saying('lorebooks', 'attach', 'tarn', '')).toBe('tarn: no character\n')
    await saying('lorebooks', 'delete', 'tarn')
  })

  test('a lorebook that is here is given to those whom an import names, and keeps those who have it', async () => {
    for (const name of ['Una', 'Ulf']) await saying('import', await save(`${name}.json`, cardOf(name)))
    const book = { name: 'Dale', extensions: {}, entries: [] }
    const file = await save('dale.json', Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: book })))
    const bring = (...args: string[]) => saying('lorebooks', 'import', file, ...args)
    await bring('--for', 'una')
    expect(await bring('--for', 'ulf')).toMatch(/updated +dale [^]*here already; ulf has it now too/)
    expect(await saying('lorebooks', 'list')).toMatch(/Dale +\(una, ulf\)/)
    expect(await bring('--for', 'ulf')).toMatch(/skipped +dale/)
    expect(await bring('--for', 'all')).toMatch(/updated +dale [^]*all characters have it now too/)
    expect(await saying('lorebooks', 'list')).toMatch(/Dale +\(all characters\)/)
    expect(await bring('--for', 'una')).toMatch(/skipped +dale/)
    await saying('lorebooks', 'delete', 'dale')
  })

  test('a renamed lorebook is exported under its name, and known when it comes back', async () => {
    const book = { name: 'Fen', extensions: {}, entries: [] }
    const file = await save('fen.json', Buffer.from(JSON.stringify({ spec: 'lorebook_v3', data: book })))
    await saying('lorebooks', 'import', file)
    await saying('lorebooks', 'change', 'fen', '--name', 'Marsh')
    const target = path.join(folder, 'marsh.json')
    const exported = async () => {
      await saying('lorebooks', 'export', 'fen', '--out', target)
      return JSON.parse(await readFile(target, 'utf8')) as unknown
    }
    expect(await exported()).toMatchObject({ data: { name: 'Marsh' } })
    expect(await saying('lorebooks', 'import', target)).toMatch(/skipped +fen/)
    await saying('lorebooks', 'change', 'fen', '--file', file)
    expect(await exported()).toMatchObject({ data: { name: 'Marsh' } })
    await saying('lorebooks', 'delete', 'fen')
  })
})

describe('files that cannot be used are named with the reason', () => {
  const nowhere = '/nonexistent/x'
  test.each([
    ['an archive that is not there', ['import', '/nonexist.zip'], /nonexist\.zip does not exist/],
    ['a lorebook that is not there', ['lorebooks', 'import', '/nofile.json'], /nofile\.json does not exist/],
    ['a lorebook to look at', ['lorebooks', 'lint', '/nofile.json'], /nofile\.json does not exist/],
    ['a folder for a lorebook', ['lorebooks', 'import', 'characters'], /characters is a folder/],
    ['a card to write', ['export', 'pia', '--out', nowhere], /no folder \/nonexistent/],
    ['an archive to write', ['archive', '--out', nowhere], /no folder \/nonexistent/],
    ['figures to write', ['analytics', 'usage', '--csv', nowhere], /no folder \/nonexistent/],
  ])('%s', async (_name, args, message) => {
    const said = await troupeCommand(args)
    expect(said.code).toBe(1)
    expect(said.out + said.err).toMatch(message)
    expect(said.out + said.err).not.toMatch(/inside Troupe|download/)
  })

  test('the others are told of all the same', async () => {
    const file = path.join(folder, 'beside.json')
    const book = { name: 'Beside', extensions: {}, entries: [] }
    await writeFile(file, JSON.stringify({ spec: 'lorebook_v3', data: book }))
    const said = await troupeCommand(['lorebooks', 'import', file, path.join(folder, 'none.json')])
    expect(said).toMatchObject({ code: 1, err: '' })
    expect(said.out).toMatch(/created +beside[^]*failed +- +\(none\.json\)\n.*does not exist/)
  })
})

describe('groups beside an Open WebUI', () => {
  let openWebUi: FakeOpenWebUi
  let beside: TestApp
  beforeEach(async () => {
    openWebUi = await openFakeOpenWebUi()
    beside = await openTestApp({ OPENWEBUI_URL: openWebUi.url, OPENWEBUI_API_KEY: openWebUi.adminKey })
    await beside.importCard({ name: 'Ed' })
    await fetch(`${openWebUi.url}/api/v1/groups/create`, {
      method: 'POST',
      headers: { authorization: `Bearer ${openWebUi.adminKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ name: 'Club', description: '' }),
    })
    return async () => {
      await beside.close()
      await openWebUi.close()
    }
  })
  const groups = (names: string) => troupeCommand(['groups', 'ed', names], { TROUPE_URL: beside.url })

  test('are told at once where it does not have them, and kept', async () => {
    expect(await groups('Club,Nowhere')).toMatchObject({
      code: 0,
      out: 'ed: Club, Nowhere\nOpen WebUI has no group "Nowhere"; make it there, or take it out here\n',
    })
    expect(await groups('Club')).toMatchObject({ out: 'ed: Club\n' })
    expect(await groups('everybody')).toMatchObject({ out: 'ed: as Open WebUI says\n' })
  })

  test('are kept without a word while it does not answer', async () => {
    openWebUi.answerEverythingWith({ status: 503, body: '' })
    expect(await groups('Nowhere')).toMatchObject({ code: 0, out: 'ed: Nowhere\n' })
  })
})

test('a key is shown once, listed without its secret, and ended', async () => {
  const created = JSON.parse(
    (await troupeCommand(['keys', 'create', 'club', '--turns-per-day', '5', '--json'])).out,
  ) as {
    id: string
    secret: string
  }
  const models = () =>
    fetch(`${troupe.url}/v1/models`, { headers: { authorization: `Bearer ${created.secret}` } })
  expect((await models()).status).toBe(200)
  const listed = await troupeCommand(['keys', 'list'])
  expect(listed.out).toContain(`${created.id}  active`)
  expect(listed.out).toMatch(/turnsPerDay 5; until 20\d\d-/)
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
    [
      'help for one topic',
      ['keys', '--help'],
      0,
      /options\]\s+keys create NAME [^]*keys revoke ID(?![^]*backup)/,
    ],
    ['a topic without a command', ['keys'], 2, /Unknown command "keys"[^]*keys revoke ID(?![^]*backup)/],
    ['an unknown command', ['dance'], 2, /Unknown command "dance"/],
    ['an unknown option', ['sync', '--loud'], 2, /--loud/],
    ['nothing to import', ['import'], 1, /at least one/],
    ['nothing to export', ['export'], 1, /Name the character/],
    ['a key without a name', ['keys', 'create'], 1, /Name the key/],
    ['no key to end', ['keys', 'revoke'], 1, /id of the key/],
    ['two ends of a key', ['keys', 'create', 'x', '--days', '5', '--never-expires'], 1, /not both/],
    ['a time as a number of backups', ['backup', 'there', '--keep', '14d'], 1, /from 1 on, not "14d"/],
    ['no backup to keep', ['backup', 'there', '--keep', '0'], 1, /from 1 on/],
    ['backups to keep beside a file', ['backup', 'there.age', '--keep', '3'], 1, /needs a folder/],
    ['no Open WebUI to sync with', ['sync'], 1, /OPENWEBUI_URL/],
    ['a word too many', ['unpublish', 'mac', 'sampy'], 2, /"sampy" is too much[^]*unpublish ID/],
    ['words for a command that takes none', ['imports', 'list', 'a', 'b'], 2, /"a b" is too much/],
    ['a word behind two forms', ['lorebooks', 'lint', 'pia', 'mac'], 2, /"mac" is too much/],
  ])('%s', async (_name, args, code, message) => {
    const said = await troupeCommand(args)
    expect(said.code).toBe(code)
    expect(said.out + said.err).toMatch(message)
  })
})

test('the list of all commands is a line for each that a terminal has room for', async () => {
  const { out } = await troupeCommand(['--help'])
  for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(120)
  expect(out).toMatch(/^ {2}keys revoke +ends an API key$/m)
})

test('a reader that leaves ends a command quietly', async () => {
  const gone = () =>
    new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
      },
    })
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  expect(await runCli(['list'], { env, out: gone(), err: gone() })).toBe(0)
})

describe('without a key in the environment', () => {
  const env = () => ({ TROUPE_ADMIN_KEY: '', TROUPE_DATA_DIR: folder })
  const keep = (text: string) => writeFile(path.join(folder, 'secrets.json'), text)

  test('the one that scripts/up keeps in the data folder is taken', async () => {
    await keep(JSON.stringify({ adminKey: ADMIN_KEY, adminPassword: 'x' }))
    expect((await troupeCommand(['list'], env())).code).toBe(0)
  })

  test.each([
    ['a damaged file', '{"adminKey"', {}],
    ['a file without it', '{}', {}],
    [
      'another machine',
      JSON.stringify({ adminKey: ADMIN_KEY }),
      { TROUPE_URL: 'http://troupe.invalid:8787' },
    ],
    ['an address that is none', JSON.stringify({ adminKey: ADMIN_KEY }), { TROUPE_URL: 'troupe' }],
  ])('%s has none', async (_name, text, more) => {
    await keep(text)
    const said = await troupeCommand(['list'], { ...env(), ...more })
    expect(said).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('Set TROUPE_ADMIN_KEY') as string,
    })
  })
})

describe('where no sidecar answers as it should', () => {
  test.each([
    ['no key', { TROUPE_ADMIN_KEY: '', TROUPE_DATA_DIR: '/nowhere' }, /TROUPE_ADMIN_KEY/],
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
