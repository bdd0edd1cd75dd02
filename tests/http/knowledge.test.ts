/** Documents over HTTP and by the command line. */
import { request } from 'node:http'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { runCli } from '#cli/run.ts'
import type { Added, KnowledgeBase, KnowledgeChunk, KnowledgeDocument } from '#knowledge/knowledge.ts'

import { ADMIN_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { readHere } from '../support/read-here.ts'
import { docxOf } from '../support/sample-documents.ts'

let troupe: TestApp
let folder: string

beforeAll(async () => {
  troupe = await openTestApp({}, { readDocument: readHere })
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-documents-'))
  await troupe.importCard({ name: 'Pia' })
})
afterAll(async () => {
  await troupe.close()
  await rm(folder, { recursive: true, force: true })
})

const api = async <T>(method: string, where: string, body?: unknown, status = 200): Promise<T> => {
  const answer = await troupe.request(
    method,
    `/troupe/api/knowledge${where}`,
    body === undefined ? {} : { body },
  )
  const text = await answer.text()
  expect(answer.status, text).toBe(status)
  return (text === '' ? null : JSON.parse(text)) as T
}

function formOf(files: Readonly<Record<string, string | Buffer>>): FormData {
  const form = new FormData()
  for (const [name, content] of Object.entries(files))
    form.append('files', new Blob([new Uint8Array(Buffer.from(content))]), name)
  return form
}

const upload = (base: string, files: Readonly<Record<string, string | Buffer>>) =>
  api<{ results: Added[] }>('POST', `/bases/${base}/documents`, formOf(files), 202)

const ended = async (id: string | undefined): Promise<KnowledgeDocument> => {
  for (;;) {
    const document = await api<KnowledgeDocument>('GET', `/documents/${id ?? ''}`)
    if (!['waiting', 'parsing', 'embedding'].includes(document.state)) return document
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

describe('the interface', () => {
  test('takes several files, one result for each; a bad one stops no other', async () => {
    const base = await api<KnowledgeBase>('POST', '/bases', { name: 'Harbour', characterIds: ['pia'] }, 201)
    expect(base).toMatchObject({ id: 'harbour', characterIds: ['pia'], searchedBy: 'words' })
    const { results } = await upload('harbour', {
      'rules/light.docx': docxOf(['# Light', 'The light is lit at dusk.']),
      'picture.png': Buffer.from('89504E470D0A1A0A0000', 'hex'),
      'oil.md': '# Oil\n\nThe oil is in the cellar.',
    })
    expect(results.map(({ file, status }) => [file, status])).toEqual([
      ['rules/light.docx', 'created'],
      ['picture.png', 'failed'],
      ['oil.md', 'created'],
    ])
    const documents = await Promise.all([results[0], results[2]].map((result) => ended(result?.id)))
    expect(documents.map(({ state, title, addedBy }) => [state, title, addedBy])).toEqual([
      ['ready', 'A document', 'admin'],
      ['ready', 'Oil', 'admin'],
    ])
    const own = await api<{ bases: KnowledgeBase[] }>('GET', '/characters/pia')
    expect(own.bases.map(({ id, documents: { ready } }) => [id, ready])).toEqual([['harbour', 2]])
  })

  test('shows passages, corrects and disables them, and gives the file back', async () => {
    const { results } = await upload('harbour', { 'salt.md': '# Salt\n\nThe salt is red.' })
    const { id } = await ended(results[0]?.id)
    const { chunks } = await api<{ chunks: KnowledgeChunk[] }>('GET', `/documents/${id}/chunks`)
    expect(chunks).toMatchObject([
      { number: 0, header: 'Salt', text: 'Salt\n\nThe salt is red.', page: null },
    ])
    const where = `/chunks/${chunks[0]?.id ?? 0}`
    expect(await api('PATCH', where, { text: 'The salt is white.' })).toMatchObject({
      text: 'The salt is white.',
      editedBy: 'admin',
    })
    expect(await api('PATCH', where, { text: null, isDisabled: true })).toMatchObject({
      text: 'Salt\n\nThe salt is red.',
      isDisabled: true,
    })
    await api('PATCH', where, { text: ' ' }, 400)
    const file = await troupe.request('GET', `/troupe/api/knowledge/documents/${id}/original`)
    expect(file.headers.get('content-disposition')).toContain('salt.md')
    expect(file.headers.get('content-type')).toBe('application/octet-stream')
    expect(await file.text()).toBe('# Salt\n\nThe salt is red.')
    await api('DELETE', `/documents/${id}`, undefined, 204)
    await api('GET', `/documents/${id}`, undefined, 404)
  })

  test.each([
    ['no name', 'POST', '/bases', {}, 400],
    ['a character that is not there', 'POST', '/bases', { name: 'X', characterIds: ['nobody'] }, 404],
    ['passages of one letter', 'POST', '/bases', { name: 'X', settings: { chunkCharacters: 1 } }, 400],
    ['an overlap of nearly all', 'PATCH', '/bases/harbour', { settings: { overlapCharacters: 900 } }, 400],
    ['an unknown setting', 'PATCH', '/bases/harbour', { settings: { speed: 1 } }, 400],
    ['a mark that nobody makes', 'PATCH', '/bases/harbour', { settings: { spotlighting: 'datamark' } }, 400],
    ['no such base', 'GET', '/bases/nothing', undefined, 404],
    ['no such base for a rebuild', 'POST', '/index', { base: 'nothing' }, 404],
    ['no such base for an exam', 'GET', '/exams/nothing', undefined, 404],
    ['no such base for the run of an exam', 'POST', '/exams/nothing/run', {}, 404],
    ['no such base to look into', 'POST', '/test', { question: 'Why?', bases: ['harbour', 'nothing'] }, 404],
    ['no base to look into', 'POST', '/test', { question: 'Why?', bases: [] }, 400],
    ['no such character to look for', 'POST', '/test', { question: 'Why?', character: 'nobody' }, 404],
    ['no such character', 'GET', '/characters/nobody', undefined, 404],
    ['no such document', 'POST', '/documents/nothing/retry', {}, 404],
    ['a passage that is no number', 'GET', '/chunks/first', undefined, 400],
    ['JSON where files are due', 'POST', '/bases/harbour/documents', {}, 400],
    ['files in another field', 'POST', '/bases/harbour/documents', new FormData(), 400],
  ])('refuses %s', async (_what, method, where, body, status) => {
    const { error } = await api<{ error: { message: string } }>(method, where, body, status)
    expect(error.message).toMatch(/\w/)
  })

  test.each([
    ['neither a character nor bases', {}, /"character": name it, or the "bases"/],
    ['both', { character: 'pia', bases: ['harbour'] }, /both named/],
  ])('a question that names %s is told so', async (_what, where, said) => {
    const { error } = await api<{ error: { message: string } }>(
      ...(['POST', '/test', { question: 'Why?', ...where }, 400] as const),
    )
    expect(error.message).toMatch(said)
  })

  test('an upload that breaks off leaves nothing', async () => {
    const head =
      '--b\r\ncontent-disposition: form-data; name="files"; filename="half.md"\r\ncontent-type: text/plain\r\n\r\n# Half'
    const sending = request(new URL('/troupe/api/knowledge/bases/harbour/documents', troupe.url), {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        'content-type': 'multipart/form-data; boundary=b',
        'content-length': '100000',
      },
    })
    const closed = new Promise((resolve) => sending.once('error', resolve).once('close', resolve))
    await new Promise<void>((resolve) => sending.write(head, () => resolve()))
    sending.destroy()
    await closed
    const { documents } = await api<{ documents: KnowledgeDocument[] }>('GET', '/bases/harbour/documents')
    expect(documents.map(({ file }) => file)).not.toContain('half.md')
  })

  test('a setting that is not named stays, and null takes the default again', async () => {
    const sizes = { chunkCharacters: 600, overlapCharacters: 60 }
    await api('POST', '/bases', { name: 'Sizes', settings: sizes }, 201)
    const set = (settings: object, status = 200) => api('PATCH', '/bases/sizes', { settings }, status)
    expect(await set({ wholeBase: 'never' })).toMatchObject({
      settings: { ...sizes, wholeBase: 'never' },
      rebuilding: null,
    })
    expect(await set({ chunkCharacters: 200 })).toMatchObject({
      settings: { ...sizes, chunkCharacters: 200, wholeBase: 'never' },
    })
    // The usual overlap of 200 would be all of it.
    expect(await set({ overlapCharacters: null }, 400)).toMatchObject({
      error: { message: expect.stringContaining('half of a passage') as string },
    })
    const usual = { chunkCharacters: null, overlapCharacters: null, wholeBase: null }
    expect(await set(usual)).toHaveProperty('settings', {})
  })

  test('a base goes into the trash, comes back, and is deleted for good', async () => {
    await api('POST', '/bases', { name: 'Old', characterIds: ['pia'] }, 201)
    await api('DELETE', '/bases/old', undefined, 204)
    await api('POST', '/test', { question: 'Why?', bases: ['old'] }, 409)
    await api('POST', '/exams/old/run', {}, 409)
    expect(
      (await api<{ bases: KnowledgeBase[] }>('GET', '/bases?state=trash')).bases.map(({ id }) => id),
    ).toEqual(['old'])
    const refused = await api<{ error: { message: string } }>(
      'POST',
      '/bases/old/documents',
      formOf({ 'a.md': 'a' }),
      409,
    )
    expect(refused.error.message).toContain('restore')
    expect(await api('POST', '/bases/old/restore', {})).toMatchObject({
      deletedAtMs: null,
      characterIds: ['pia'],
    })
    await api('DELETE', '/bases/old?forever=true', undefined, 204)
    await api('GET', '/bases/old', undefined, 404)
    const audit = await troupe.request('GET', '/troupe/api/audit?target=knowledge%20old')
    const { events } = (await audit.json()) as { events: { action: string }[] }
    expect(events.map(({ action }) => action)).toEqual(['delete_for_good', 'restore', 'delete', 'import'])
  })

  test('needs a key', async () => {
    expect((await troupe.request('GET', '/troupe/api/knowledge/bases', { key: null })).status).toBe(401)
  })
})

async function troupeCommand(...args: string[]) {
  const said = { out: '', err: '' }
  const into = (stream: 'out' | 'err') =>
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        said[stream] += chunk.toString()
        done()
      },
    })
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  const code = await runCli(args, { env, out: into('out'), err: into('err') })
  return { code, ...said }
}

describe('the command line', () => {
  test('adds a folder as deep as it goes, waits, lists, shows, attaches and removes', async () => {
    await mkdir(path.join(folder, 'deep'), { recursive: true })
    await writeFile(path.join(folder, 'one.md'), '# One\n\nThe first.')
    await writeFile(path.join(folder, 'deep/two.csv'), 'name,price\nWick,2\n')
    await writeFile(path.join(folder, 'deep/three.json'), '{')
    await writeFile(path.join(folder, 'deep/picture.png'), Buffer.from('89504E470D0A1A0A0000', 'hex'))
    expect(await troupeCommand('knowledge', 'create', 'Shed')).toMatchObject({
      code: 0,
      out: 'shed: made  (no character)\n',
    })
    const added = await troupeCommand('knowledge', 'add', folder, '--to', 'shed')
    expect(added).toMatchObject({ code: 1, err: '' })
    expect(added.out).toMatch(
      /failed .*deep\/three\.json\n +The file is not valid JSON[^]*created .*deep\/two\.csv[^]*created .*one\.md/,
    )
    expect(
      (await troupeCommand('knowledge', 'add', path.join(folder, 'one.md'), '--to', 'shed')).out,
    ).toMatch(/^skipped /)
    const listed = await troupeCommand('knowledge', 'list', 'shed')
    const failedId = /^(\S+) +failed/m.exec(listed.out)?.[1] ?? ''
    expect((await troupeCommand('knowledge', 'list')).out).toMatch(
      /shed +2 ready, 1 failed, 2 passages, by words/,
    )
    expect(await troupeCommand('knowledge', 'status', 'shed', '--wait')).toMatchObject({
      code: 1,
      out: expect.stringContaining('3 documents, 0 at work, 1 failed'),
    })
    expect((await troupeCommand('knowledge', 'retry', failedId)).code).toBe(0)
    const status = await troupeCommand('knowledge', 'status', 'shed', '--wait', '--json')
    const { documents } = JSON.parse(status.out) as { documents: KnowledgeDocument[] }
    const ready = documents.find(({ file }) => file === 'one.md')?.id ?? ''
    expect((await troupeCommand('knowledge', 'chunks', ready)).out).toMatch(/One\n +One\n +\n +The first\./)
    expect((await troupeCommand('knowledge', 'attach', 'shed', 'pia')).out).toBe('shed: pia\n')
    expect((await troupeCommand('knowledge', 'detach', 'shed', 'pia')).out).toBe('shed: no character\n')
    expect((await troupeCommand('knowledge', 'recut', 'shed')).out).toMatch(/^shed: 2 passages/)
    expect((await troupeCommand('knowledge', 'remove', failedId)).out).toBe('Deleted 1 documents\n')
    expect((await troupeCommand('knowledge', 'remove', '--base', 'shed')).out).toContain('30 days')
    expect((await troupeCommand('knowledge', 'list', '--trash')).out).toContain('shed')
    expect((await troupeCommand('knowledge', 'restore', 'shed')).out).toBe('shed: 2 ready\n')
  })

  test('a folder gives all that can be read whatever it is called, and names what it leaves out', async () => {
    const mixed = path.join(folder, '..', `${path.basename(folder)}-mixed`)
    await mkdir(path.join(mixed, '.git'), { recursive: true })
    const files = {
      ...{ 'notes.xyz': 'The tide turns at nine.', 'old.rtf': '{\\rtf1 Old.}', '.git/config': 'no document' },
      ...{ 'slides.odp': Buffer.from('504B0304000000', 'hex'), 'moon.bin': Buffer.from([1, 0, 2]) },
    }
    for (const [name, content] of Object.entries(files)) await writeFile(path.join(mixed, name), content)
    await api('POST', '/bases', { name: 'Mixed' }, 201)
    const added = await troupeCommand('knowledge', 'add', mixed, '--to', 'mixed', '--json')
    await rm(mixed, { recursive: true, force: true })
    const { results } = JSON.parse(added.out) as { results: Added[] }
    expect(results.map(({ file, status, notes }) => [file, status, notes[0]?.message])).toEqual([
      ['moon.bin', 'skipped', expect.stringContaining('no document that can be read')],
      ['old.rtf', 'skipped', 'This is RTF; save it as DOCX or PDF'],
      ['slides.odp', 'skipped', expect.stringContaining('This is an archive')],
      ['notes.xyz', 'created', undefined],
    ])
    expect(added.code).toBe(0)
  })

  test('shows, corrects and disables a passage, and sets how a base is cut', async () => {
    await api('POST', '/bases', { name: 'Salt' }, 201)
    const { results } = await upload('salt', { 'salt.md': 'The salt is red.' })
    const document = await ended(results[0]?.id)
    const id = /^\d+/.exec((await troupeCommand('knowledge', 'chunks', document.id)).out)?.[0] ?? ''
    const said = async (...args: string[]) => (await troupeCommand('knowledge', 'chunk', id, ...args)).out
    expect(await said('--text', 'The salt is white.')).toContain('    The salt is white.')
    expect(await said('--original', '--disable')).toMatch(/\(disabled\)[^]*The salt is red\./)
    expect(await said('--enable')).not.toContain('(disabled)')
    expect((await troupeCommand('knowledge', 'chunk', id, '--enable', '--disable')).code).toBe(1)

    const set = async (...wishes: string[]) =>
      (await troupeCommand('knowledge', 'set', 'salt', ...wishes)).out
    expect(await set()).toBe('salt: as usual\n')
    expect(await set('wholeBase=never')).toBe('salt: wholeBase=never\n')
    expect(await set('chunkCharacters=800')).toMatch(/^salt: chunkCharacters=800 wholeBase=never\n/)
    expect(await set('wholeBase=')).toMatch(/^salt: chunkCharacters=800\n/)
    expect((await troupeCommand('knowledge', 'set', 'salt', 'speed=1')).code).toBe(1)
  })

  test('an exam has an exit code for fewer than asked for and for what was lost, and a report for CI', async () => {
    await api('POST', '/bases', { name: 'Ferry' }, 201)
    const { results } = await upload('ferry', { 'ferry.md': 'The ferry leaves at seven and at noon.' })
    const document = await ended(results[0]?.id)
    const tried = await troupeCommand('knowledge', 'test', '--base', 'ferry', 'When does the ferry leave?')
    expect(tried).toMatchObject({ code: 0, out: expect.stringMatching(/words alone {2}ferry\.md/) as string })

    for (const question of ['When does the ferry leave?', 'How <deep> is the quarry?'])
      await troupeCommand(
        ...['exam', 'add', 'ferry', '--question', question],
        ...['--quote', 'leaves at seven', '--document', 'ferry.md'],
      )
    const report = path.join(folder, 'exam.xml')
    const exam = (...args: string[]) => troupeCommand('knowledge', 'exam', 'ferry', ...args)
    expect(await exam('--least', '0.5', '--junit', report)).toMatchObject({
      code: 0,
      out: expect.stringContaining('50.0 % found') as string,
    })
    const xml = await readFile(report, 'utf8')
    expect(xml).toContain('<testsuites tests="2" failures="1" errors="0">')
    expect(xml).toMatch(/name="How &lt;deep&gt; is the quarry\?".*<failure message="not found/)
    expect((await exam('--least', '0.9')).code).toBe(1)
    expect((await exam()).code).toBe(0)
    expect((await exam('--least', 'much')).code).toBe(1)
    await api('DELETE', `/documents/${document.id}`, undefined, 204)
    expect(await exam()).toMatchObject({
      code: 1,
      out: expect.stringContaining('not found (was 1)') as string,
    })
  })

  test('a character folder brings its documents; a second time nothing changes', async () => {
    const first = await troupeCommand('import', 'characters/benno')
    expect(first).toMatchObject({ code: 0, err: '' })
    expect(first.out).toMatch(/created +benno[^]*created .*house-rules\.md/)
    expect((await troupeCommand('knowledge', 'status', 'benno', '--wait')).out).toContain(
      '4 documents, 0 at work, 0 failed',
    )
    expect((await troupeCommand('import', 'characters/benno')).out).not.toMatch(/created|updated/)
    const { bases } = await api<{ bases: KnowledgeBase[] }>('GET', '/characters/benno')
    expect(bases).toMatchObject([{ id: 'benno', characterIds: ['benno'], documents: { ready: 4 } }])
  })

  test.each([
    ['nothing to add', ['add'], 1, /at least one/],
    ['nowhere to add to', ['add', 'README.md'], 1, /--to BASE/],
    ['what does not exist', ['add', 'missing.md', '--to', 'shed'], 1, /does not exist/],
    ['a base that is not there', ['add', 'README.md', '--to', 'nowhere'], 1, /no knowledge base/],
    ['a question to a base that is not there', ['test', '--base', 'nowhere', 'Why?'], 1, /no knowledge base/],
    ['a question to nobody', ['test', 'nobody', 'Why?'], 1, /no character "nobody"/],
    ['the exam of a base that is not there', ['exam', 'nowhere'], 1, /no knowledge base/],
    ['an unknown option', ['list', '--loud'], 2, /--loud/],
    ['help', ['add', '--help'], 0, /FILE\|FOLDER/],
  ])('%s', async (_what, args, code, said) => {
    const answer = await troupeCommand('knowledge', ...args)
    expect(answer.code).toBe(code)
    expect(answer.out + answer.err).toMatch(said)
  })
})
