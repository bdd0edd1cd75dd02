/** GET /v1/models: every published character, from memory. Nothing here may wait for a model server. */
import { Hono } from 'hono'

import { AppError } from '#base/errors.ts'
import { TASK_MODEL_ID } from '#chat/tasks.ts'
import { allows, type Principal } from '#gateway/keys.ts'
import type { CharacterSummary, Library } from '#library/library.ts'
import type { Upstreams } from '#providers/upstreams.ts'

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

const presentBaseModel = ({ name, server }: { name: string; server: string }) => ({
  id: name,
  object: 'model',
  created: 0,
  owned_by: server,
  name,
})

export interface ModelListParts {
  library: Pick<Library, 'list'>
  upstreams: Pick<Upstreams, 'state'>
}

export function modelRoutes(on: ModelListParts) {
  const listed = async ({ scopes, cast }: Principal) => {
    const published = (await on.library.list()).filter(
      (character) => character.publishedVersion !== null && allows(cast, character),
    )
    const characters = [...published.map(presentModel), TASK_MODEL]
    if (!scopes.includes('base-models')) return characters
    const taken = new Set(characters.map(({ id }) => id))
    const behind = on.upstreams
      .state()
      .flatMap(({ name: server, models }) => models.map((name) => ({ name, server })))
      .filter(({ name }) => !taken.has(name) && taken.add(name))
    return [...characters, ...behind.map(presentBaseModel)]
  }
  return (
    new Hono<AppEnv>()
      .get('/', async (c) => c.json({ object: 'list', data: await listed(c.var.principal) }))
      // Names of base models may have slashes.
      .get('/:id{.+}', async (c) => {
        const id = c.req.param('id')
        const found = (await listed(c.var.principal)).find((model) => model.id === id)
        if (found === undefined)
          throw new AppError('model_not_found', `There is no character "${id}"`, { param: 'model' })
        return c.json(found)
      })
  )
}
