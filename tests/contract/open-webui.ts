/** What we rely on in Open WebUI, and what our part promises on top of it; held against the real one and against the fake. */
import { readFile } from 'node:fs/promises'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import { openOpenWebUi, PUBLIC_READ, type ModelForm, type OpenWebUi } from '#openwebui/client.ts'
import { toRating } from '#openwebui/feedback.ts'
import { installFunction } from '#openwebui/install-functions.ts'
import type { SyncCharacter } from '#openwebui/rows.ts'
import { createSessions } from '#openwebui/session.ts'
import { createSync } from '#openwebui/sync.ts'

export interface Subject {
  url: string
  /** API key and session token of an admin, session token of an ordinary user. */
  adminKey: string
  adminToken: string
  userToken: string
  close(): Promise<void>
}

/** Models that a provider of the subject must list: Open WebUI shows rows only of models that exist. */
export const MODELS = ['contract-row', 'contract-mira', 'contract-otto', 'contract-foreign', 'contract-task']

const WEBP = `data:image/webp;base64,${Buffer.from('RIFF....WEBP').toString('base64')}`

/** A byte string with the name of a picture: neither Open WebUI nor the fake look inside. */
const portrait = Buffer.from('RIFF....WEBPVP8 portrait')

const mira: SyncCharacter = {
  id: 'contract-mira',
  name: 'Mira',
  tagline: 'Keeps a lighthouse.',
  tags: ['Companion'],
  greetings: [{ prompt: '(Begin the scene)', greeting: '*She looks up.* Who is there?' }],
  groups: null,
  portrait,
  takesPictures: true,
}
const otto: SyncCharacter = {
  ...mira,
  id: 'contract-otto',
  name: 'Otto',
  tagline: 'Fixes clocks.',
  portrait: null,
}

export function openWebUiSuite(name: string, openSubject: () => Promise<Subject>): void {
  describe(name, () => {
    let subject: Subject
    let client: OpenWebUi

    beforeAll(async () => {
      subject = await openSubject()
      client = openOpenWebUi({ url: subject.url, apiKey: subject.adminKey })
    })
    afterAll(async () => {
      await client.close()
      await subject.close()
    })

    test('lists the ids of all people, and nothing else of them', async () => {
      const ids = await client.listUserIds()
      expect(ids.size).toBeGreaterThanOrEqual(2)
      expect([...ids].every((id) => /^[0-9a-f-]{36}$/.test(id))).toBe(true)
    })

    async function call(
      method: string,
      path: string,
      token: string,
      body?: unknown,
    ): Promise<Record<string, unknown>> {
      const answer = await fetch(`${subject.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      return (await answer.json()) as Record<string, unknown>
    }

    /** Ids of the models that a person may choose. */
    async function picker(token: string): Promise<string[]> {
      const { data } = (await call('GET', '/api/models', token)) as { data: { id: string }[] }
      return data.map(({ id }) => id)
    }

    describe('rows', () => {
      const row = (over: Partial<ModelForm> = {}): ModelForm => ({
        id: 'contract-row',
        name: 'Row',
        base_model_id: null,
        params: { temperature: 0.5 },
        meta: { profile_image_url: WEBP, description: 'First', kept: { by: 'us' } },
        access_grants: PUBLIC_READ,
        ...over,
      })

      test('a new row has its access, its picture and keys of our own', async () => {
        await client.importModels([row()])
        const stored = await client.getModel('contract-row')
        expect(stored).toMatchObject({
          name: 'Row',
          params: { temperature: 0.5 },
          meta: { profile_image_url: WEBP, description: 'First', kept: { by: 'us' } },
          access_grants: PUBLIC_READ,
        })
        expect((await client.listBaseModels()).find(({ id }) => id === 'contract-row')?.meta).toEqual(
          stored?.meta,
        )
        await client.refreshModels()
        expect(await picker(subject.userToken)).toContain('contract-row')
      })

      test('a change is merged into meta, empties params that are left out, and does not touch access', async () => {
        const { params: _params, ...rest } = row({ meta: { description: 'Second' }, access_grants: [] })
        await client.importModels([rest as ModelForm])
        expect(await client.getModel('contract-row')).toMatchObject({
          params: {},
          meta: { profile_image_url: WEBP, description: 'Second', kept: { by: 'us' } },
          access_grants: PUBLIC_READ,
        })
      })

      test('access is replaced by its own call only', async () => {
        await client.setAccess('contract-row', [])
        expect((await client.getModel('contract-row'))?.access_grants).toEqual([])
        await client.refreshModels()
        expect(await picker(subject.userToken)).not.toContain('contract-row')
        await client.setAccess('contract-row', PUBLIC_READ)
        expect((await client.getModel('contract-row'))?.access_grants).toMatchObject(PUBLIC_READ)
      })

      test('access of a group is for its members only', async () => {
        const group = await call('POST', '/api/v1/groups/create', subject.adminKey, {
          name: 'Contract club',
          description: '',
        })
        expect(await client.listGroups()).toContainEqual(
          expect.objectContaining({ id: group['id'], name: 'Contract club' }),
        )
        const grant = { principal_type: 'group', principal_id: String(group['id']), permission: 'read' }
        await client.setAccess('contract-row', [grant])
        expect((await client.getModel('contract-row'))?.access_grants).toMatchObject([grant])
        await client.refreshModels()
        expect(await picker(subject.userToken)).not.toContain('contract-row')
        const { id: userId } = await call('GET', '/api/v1/auths/', subject.userToken)
        await call('POST', `/api/v1/groups/id/${String(group['id'])}/users/add`, subject.adminKey, {
          user_ids: [userId],
        })
        expect(await picker(subject.userToken)).toContain('contract-row')
        await client.setAccess('contract-row', PUBLIC_READ)
      })

      test('a picture that is not taken is stored as null, an empty one is kept', async () => {
        await client.importModels([
          row({ meta: { profile_image_url: 'data:image/svg+xml;base64,PHN2Zy8+' } }),
        ])
        expect((await client.getModel('contract-row'))?.meta.profile_image_url).toBeNull()
        await client.importModels([row({ meta: { profile_image_url: '' } })])
        expect((await client.getModel('contract-row'))?.meta.profile_image_url).toBe('')
      })

      test('a bad row is refused with its reason; an id with a space is skipped without one', async () => {
        const { name: _name, ...nameless } = row({ id: 'contract-nameless' })
        await expect(client.importModels([nameless as ModelForm])).rejects.toMatchObject({
          code: 'upstream',
          facts: { status: 400 },
          message: expect.stringContaining('Field required'),
        })
        await client.importModels([row({ id: 'contract row' })])
        expect(await client.getModel('contract row')).toBeUndefined()
      })

      test('what is deleted is gone, and deleting it again is fine', async () => {
        await client.deleteModel('contract-row')
        await client.deleteModel('contract-row')
        expect(await client.getModel('contract-row')).toBeUndefined()
      })
    })

    describe('keys', () => {
      test('only the key of an admin is one', async () => {
        expect(await client.isAdminKey()).toBe(true)
        for (const apiKey of [subject.userToken, 'sk-nobody']) {
          const other = openOpenWebUi({ url: subject.url, apiKey })
          expect(await other.isAdminKey()).toBe(false)
          await expect(other.listBaseModels()).rejects.toMatchObject({
            code: 'upstream',
            message: expect.stringContaining('set OPENWEBUI_API_KEY'),
          })
          // Not "there is none": that answer has the same status.
          await expect(other.functions.get('contract_nobody')).rejects.toMatchObject({ code: 'upstream' })
          await other.close()
        }
      })

      test('an address of Open WebUI that is not its interface is recognised', async () => {
        const wrong = openOpenWebUi({ url: `${subject.url}/workspace`, apiKey: subject.adminKey })
        await expect(wrong.listBaseModels()).rejects.toMatchObject({
          code: 'upstream',
          message: expect.stringContaining('OPENWEBUI_URL'),
        })
        await wrong.close()
      })
    })

    describe('sessions', () => {
      test('a token tells who it is and which role they have', async () => {
        const sessions = createSessions({ openWebUiUrl: subject.url, now: Date.now })
        expect(await sessions.check(subject.adminToken)).toMatchObject({ role: 'admin', name: 'Admin' })
        const user = await sessions.check(subject.userToken)
        expect(user).toEqual({ id: expect.stringMatching(/^[0-9a-f-]{36}$/), name: 'Tom', role: 'user' })
      })

      test('neither an API key nor nonsense is a session', async () => {
        const sessions = createSessions({ openWebUiUrl: subject.url, now: Date.now })
        for (const token of [subject.adminKey, 'nonsense']) {
          await expect(sessions.check(token)).rejects.toMatchObject({ code: 'unauthenticated' })
        }
      })
    })

    describe('a sync', () => {
      const log = createLog('silent')
      const sync = (...characters: SyncCharacter[]) =>
        createSync({
          client,
          characters: () => Promise.resolve(characters),
          taskModelId: 'contract-task',
          log,
        })
      const actions = async (dryRun: boolean, ...characters: SyncCharacter[]) => {
        const { changes } = await sync(...characters).run({ dryRun })
        return changes
          .filter(({ id }) => id.startsWith('contract-'))
          .map(({ id, action }) => `${action} ${id}`)
      }

      test('shows the cast to everybody, and finds nothing to do the second time', async () => {
        const all = ['create contract-mira', 'create contract-otto', 'create contract-task']
        expect(await actions(true, mira, otto)).toEqual(all)
        expect(await client.getModel('contract-mira')).toBeUndefined()
        expect(await actions(false, mira, otto)).toEqual(all)
        expect(await actions(false, mira, otto)).toEqual([])
        expect(await picker(subject.userToken)).toEqual(
          expect.arrayContaining(['contract-mira', 'contract-otto', 'contract-task']),
        )
        expect(await client.getModel('contract-mira')).toMatchObject({
          name: 'Mira',
          meta: {
            profile_image_url: `data:image/webp;base64,${portrait.toString('base64')}`,
            description: 'Keeps a lighthouse.',
            tags: [{ name: 'Companion' }],
            suggestion_prompts: [
              { title: ['Begin the scene', 'She looks up. Who is there?'], content: '(Begin the scene)' },
            ],
          },
        })
        expect((await client.getModel('contract-task'))?.meta).toMatchObject({ hidden: true })
      })

      test('sends what changed, and leaves to the admin what was set by hand', async () => {
        await client.setAccess('contract-mira', [])
        const stored = await client.getModel('contract-mira')
        const byHand = { filterIds: ['some_filter'], hidden: true }
        await client.importModels([
          {
            id: 'contract-mira',
            name: 'Mira',
            base_model_id: null,
            params: { temperature: 0.2 },
            meta: { ...stored?.meta, ...byHand },
          },
        ])
        const changed = { ...mira, name: 'Mira of the Sea', portrait: null }
        const { changes } = await sync(changed, otto).run({ dryRun: false })
        expect(changes).toEqual([
          {
            id: 'contract-mira',
            action: 'update',
            reason: 'changed: name, picture',
            difference: ['name: "Mira" → "Mira of the Sea"', 'picture: removed'],
          },
        ])
        expect(await client.getModel('contract-mira')).toMatchObject({
          name: 'Mira of the Sea',
          params: { temperature: 0.2 },
          access_grants: [],
          meta: { profile_image_url: '', ...byHand },
        })
        expect(await actions(false, changed, otto)).toEqual([])
      })

      test("leaves somebody else's row alone and says so", async () => {
        await client.importModels([
          { id: 'contract-foreign', name: 'Foreign', base_model_id: null, params: {}, meta: {} },
        ])
        const same = { ...mira, name: 'Mira of the Sea', portrait: null }
        const twin = { ...otto, id: 'contract-foreign' }
        expect(await actions(false, same, otto, twin)).toEqual(['conflict contract-foreign'])
        expect((await client.getModel('contract-foreign'))?.name).toBe('Foreign')
        expect(await actions(false, same, otto)).toEqual([])
      })

      test('removes the row of a character that is gone, and no other', async () => {
        expect(await actions(false)).toEqual(['delete contract-mira', 'delete contract-otto'])
        expect(await picker(subject.userToken)).not.toContain('contract-otto')
        expect(await client.getModel('contract-foreign')).toBeDefined()
        await Promise.all([client.deleteModel('contract-foreign'), client.deleteModel('contract-task')])
      })
    })

    describe('functions', () => {
      const ID = 'troupe_events'
      const valves = { sidecar_url: 'http://127.0.0.1:9', key: 'contract-key' }
      let content: string

      beforeAll(async () => {
        content = await readFile(new URL(`../../functions/${ID}.py`, import.meta.url), 'utf8')
      })

      test('a function that is not there is undefined', async () => {
        expect(await client.functions.get('contract_nobody')).toBeUndefined()
      })

      test('ours is installed, switched on and set up, and then left as it is', async () => {
        const file = { id: ID, content, valves }
        expect(await installFunction(file, client)).toEqual({ action: 'created' })
        expect(await client.functions.get(ID)).toMatchObject({
          name: 'Troupe events',
          content,
          is_active: true,
        })
        expect(await client.functions.valves(ID)).toEqual(valves)
        expect(await installFunction(file, client)).toEqual({ action: 'unchanged' })
        expect(await client.functions.list()).toEqual([expect.objectContaining({ id: ID, is_active: true })])
      })

      test('another text, another key or a switched-off function is put right, and other valves are kept', async () => {
        await client.functions.setValves(ID, { ...valves, timeout_seconds: 9 })
        const file = { id: ID, content: `${content}\n# more\n`, valves: { ...valves, key: 'another' } }
        expect(await installFunction(file, client)).toEqual({ action: 'updated' })
        expect(await client.functions.valves(ID)).toEqual({ ...valves, key: 'another', timeout_seconds: 9 })
        await client.functions.toggle(ID)
        expect(await installFunction(file, client)).toEqual({ action: 'updated' })
        expect(await client.functions.get(ID)).toMatchObject({ content: file.content, is_active: true })
      })

      test('a file without a function, and a valve of the wrong type, are refused', async () => {
        const empty = { id: 'contract_empty', name: 'Empty', content: 'x = 1\n', description: '' }
        await expect(client.functions.create(empty)).rejects.toMatchObject({
          code: 'upstream',
          facts: { status: 400 },
        })
        await expect(client.functions.setValves(ID, { timeout_seconds: 'soon' })).rejects.toMatchObject({
          facts: { status: 400 },
        })
        await client.functions.toggle(ID)
      })
    })

    describe('feedback', () => {
      test('a thumb is found by its id, and nothing of the chat comes with it', async () => {
        const { id } = await call('POST', '/api/v1/evaluations/feedback', subject.userToken, {
          type: 'rating',
          data: { rating: 1, model_id: 'contract-mira', comment: 'private words', details: { rating: 9 } },
          meta: { chat_id: 'chat-1', message_id: 'message-1', message_index: 2 },
          snapshot: { chat: { title: 'private title' } },
        })
        const feedback = await client.getFeedback(String(id))
        expect(feedback && toRating(feedback)).toEqual({
          id,
          messageId: 'message-1',
          value: 1,
          atMs: expect.any(Number),
        })
        expect(JSON.stringify(feedback)).not.toContain('private')

        await call('POST', `/api/v1/evaluations/feedback/${String(id)}`, subject.userToken, {
          type: 'rating',
          data: { rating: -1 },
        })
        expect((await client.getFeedback(String(id)))?.data).toEqual({ rating: -1 })
        await call('DELETE', `/api/v1/evaluations/feedback/${String(id)}`, subject.userToken)
        expect(await client.getFeedback(String(id))).toBeUndefined()
      })
    })
  })
}
