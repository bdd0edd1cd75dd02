/** What the model gets, and what it got. */
import { Hono } from 'hono'
import { z } from 'zod'

import type { findRecord } from '#analytics/queries.ts'
import { AppError } from '#base/errors.ts'
import type { GatherParts } from '#chat/gather.ts'
import { withTexts } from '#chat/inspect.ts'
import { preview } from '#chat/preview.ts'
import { roomOf } from '#chat/room.ts'
import { taskOf } from '#chat/tasks.ts'
import type { Library } from '#library/library.ts'

import { CHAT_BODY_BYTES, check, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'
import { askParts, ChatBody, readChatBody } from '../v1/read-ask.ts'

const Texts = z.object({ text: z.stringbool().default(false) })

const Asked = z.object({ character: z.string(), model: z.string().optional() })

export const previewOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/preview',
    summary: 'The prompt that a chat request would send, without a model',
    may: 'viewer',
    body: ChatBody,
  },
]
export const roomOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/',
    summary: "How a character fills a model's context",
    may: 'viewer',
    query: Asked,
  },
]
export const requestOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/:id',
    summary: 'The record of a past request and the parts of its prompt',
    may: 'admin',
    query: Texts,
  },
]

export interface PromptParts extends Omit<GatherParts, 'library'> {
  library: Pick<Library, 'published' | 'version' | 'get'>
  findRecord: (id: string) => ReturnType<typeof findRecord>
}

export function previewRoutes(on: PromptParts) {
  return new Hono<AppEnv>().post('/preview', async (c) => {
    const body = readChatBody(parseJson(await readBytes(c.env.incoming, CHAT_BODY_BYTES)))
    const asked = askParts(body)
    const task = taskOf(asked)
    const { requestId, principal } = c.var
    const ask = { ...asked, requestId, keyId: principal.keyId, surface: 'api' as const, conversation: {} }
    const parts = { ...on, library: withDrafts(on.library) }
    return c.json(await preview(task === undefined ? ask : { ...ask, task }, parts))
  })
}

/** An author looks at a character before anybody can talk to it: at its newest version. */
const withDrafts = (library: PromptParts['library']): GatherParts['library'] => ({
  async published(id) {
    const version = await library.published(id)
    if (version !== undefined) return version
    const draft = await library.get(id).catch(() => undefined)
    return draft?.deletedAtMs === null ? library.version(id, draft.latestVersion) : undefined
  },
})

export function roomRoutes(on: PromptParts) {
  return new Hono<AppEnv>().get('/', async (c) => c.json(await roomOf(check(Asked, c.req.query()), on)))
}

export function requestRoutes(on: PromptParts) {
  return new Hono<AppEnv>().get('/:id', async (c) => {
    const record = await on.findRecord(c.req.param('id'))
    if (record === undefined) throw new AppError('not_found', 'There is no record with this id')
    const { text } = check(Texts, c.req.query())
    return c.json(text ? await withTexts(record, on) : record)
  })
}
