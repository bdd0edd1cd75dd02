/** What the model gets, and what it got. */
import { Hono } from 'hono'
import { z } from 'zod'

import type { findRecord } from '#analytics/queries.ts'
import { AppError } from '#base/errors.ts'
import type { GatherParts } from '#chat/gather.ts'
import { withTexts } from '#chat/inspect.ts'
import { preview } from '#chat/preview.ts'
import { taskOf } from '#chat/tasks.ts'
import type { Library } from '#library/library.ts'

import { CHAT_BODY_BYTES, check, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { askParts, readChatBody } from '../v1/read-ask.ts'

const Texts = z.object({ text: z.stringbool().default(false) })

export interface PromptParts extends Omit<GatherParts, 'library'> {
  library: Pick<Library, 'published' | 'version'>
  findRecord: (id: string) => ReturnType<typeof findRecord>
}

export function previewRoutes(on: PromptParts) {
  return new Hono<AppEnv>().post('/preview', async (c) => {
    const body = readChatBody(parseJson(await readBytes(c.env.incoming, CHAT_BODY_BYTES)))
    const parts = askParts(body)
    const task = taskOf(parts)
    const { requestId, principal } = c.var
    const ask = { ...parts, requestId, keyId: principal.keyId, surface: 'api' as const, conversation: {} }
    return c.json(await preview(task === undefined ? ask : { ...ask, task }, on))
  })
}

export function requestRoutes(on: PromptParts) {
  return new Hono<AppEnv>().get('/:id', async (c) => {
    const record = await on.findRecord(c.req.param('id'))
    if (record === undefined) throw new AppError('not_found', 'There is no record with this id')
    const { text } = check(Texts, c.req.query())
    return c.json(text ? await withTexts(record, on.library) : record)
  })
}
