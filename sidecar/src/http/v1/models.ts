/** GET /v1/models: every published character, from memory. Nothing here may wait for a model server. */
import { Hono } from 'hono'

import { AppError } from '#base/errors.ts'
import { TASK_MODEL_ID } from '#chat/tasks.ts'
import type { CharacterSummary, Library } from '#library/library.ts'

import type { AppEnv } from '../env.ts'

/** Open WebUI sends titles and tags to it; its row there is hidden. */
const TASK_MODEL = {
  id: TASK_MODEL_ID,
  object: 'model',
  created: 0,
  owned_by: 'troupe',
  name: 'Troupe tasks',
}

const presentModel = (character: CharacterSummary) => ({
  id: character.id,
  object: 'model',
  created: Math.floor(character.createdAtMs / 1_000),
  owned_by: 'troupe',
  name: character.name,
  description: character.tagline,
  tags: character.tags.map((name) => ({ name })),
})

export function modelRoutes(on: { library: Pick<Library, 'list'> }) {
  const published = async () =>
    (await on.library.list()).filter((character) => character.publishedVersion !== null)
  return new Hono<AppEnv>()
    .get('/', async (c) =>
      c.json({ object: 'list', data: [...(await published()).map(presentModel), TASK_MODEL] }),
    )
    .get('/:id', async (c) => {
      const id = c.req.param('id')
      if (id === TASK_MODEL_ID) return c.json(TASK_MODEL)
      const found = (await published()).find((character) => character.id === id)
      if (found === undefined)
        throw new AppError('model_not_found', `There is no character "${id}"`, { param: 'model' })
      return c.json(presentModel(found))
    })
}
