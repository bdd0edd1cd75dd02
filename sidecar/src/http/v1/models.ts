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

/** Made once for each state of a character: two thousand of them would hold every other answer up. */
const texts = new WeakMap<CharacterSummary, string>()

function textOf(character: CharacterSummary): string {
  const known = texts.get(character)
  if (known !== undefined) return known
  const text = JSON.stringify(presentModel(character))
  texts.set(character, text)
  return text
}

/** So that the first client after a start waits no longer than those after it. */
export const prepareModelList = (characters: readonly CharacterSummary[]): void => void characters.map(textOf)

const TASK_MODEL_TEXT = JSON.stringify(TASK_MODEL)

const presentBaseModel = ({ name, server }: { name: string; server: string }) => ({
  id: name,
  object: 'model',
  created: 0,
  owned_by: server,
  name,
})

const JSON_TYPE = { 'content-type': 'application/json' }

export interface ModelListParts {
  library: Pick<Library, 'list'>
  upstreams: Pick<Upstreams, 'state'>
}

export function modelRoutes(on: ModelListParts) {
  const published = async ({ cast }: Principal) =>
    (await on.library.list()).filter(
      (character) => character.publishedVersion !== null && allows(cast, character),
    )
  /** Those that no character hides by its id. */
  const behind = ({ scopes }: Principal, characters: readonly CharacterSummary[]) => {
    if (!scopes.includes('base-models')) return []
    const taken = new Set([...characters.map(({ id }) => id), TASK_MODEL_ID])
    return on.upstreams
      .state()
      .flatMap(({ name: server, models }) => models.map((name) => ({ name, server })))
      .filter(({ name }) => !taken.has(name) && taken.add(name))
  }

  return (
    new Hono<AppEnv>()
      .get('/', async (c) => {
        const characters = await published(c.var.principal)
        const baseModels = behind(c.var.principal, characters).map((model) =>
          JSON.stringify(presentBaseModel(model)),
        )
        const data = [...characters.map(textOf), TASK_MODEL_TEXT, ...baseModels]
        return c.body(`{"object":"list","data":[${data.join(',')}]}`, 200, JSON_TYPE)
      })
      // Names of base models may have slashes.
      .get('/:id{.+}', async (c) => {
        const id = c.req.param('id')
        const characters = await published(c.var.principal)
        const baseModels = behind(c.var.principal, characters)
        const [found] = [
          ...characters.filter((character) => character.id === id).map(presentModel),
          ...(id === TASK_MODEL_ID ? [TASK_MODEL] : []),
          // Ollama lists its models with a tag, people name them without.
          ...[id, `${id}:latest`].flatMap((wanted) =>
            baseModels.filter(({ name }) => name === wanted).map(presentBaseModel),
          ),
        ]
        if (found === undefined)
          throw new AppError('model_not_found', `There is no character "${id}"`, { param: 'model' })
        return c.json(found)
      })
  )
}
