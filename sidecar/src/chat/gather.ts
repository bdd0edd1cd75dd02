/** What an answer is made of: who speaks, and which base model on which server speaks for it. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Card } from '#characters/card.ts'
import type { Library } from '#library/library.ts'
import type { Ask } from '#prompt/ask.ts'
import type { Materials } from '#prompt/prompt.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

import { TASK_MODEL_ID } from './tasks.ts'

export interface Gathered {
  upstream: Upstream
  /** Absent for a task: those carry no persona. */
  materials?: Materials
}

export interface GatherParts {
  library: Pick<Library, 'published'>
  upstreams: Upstreams
  taskModel: string | undefined
}

const TroupeExtension = z.looseObject({ model: z.string().min(1).optional() })

/** The base model that a card asks for, in `extensions.troupe.model`. */
function baseModelOf(card: Card): string | undefined {
  const parsed = TroupeExtension.safeParse(card.extensions['troupe'])
  return parsed.success ? parsed.data.model : undefined
}

/** Stands for `{{user}}` when the caller named nobody. */
const UNNAMED_USER = 'User'

/** Throws AppError `model_not_found` for an unknown character, and what `Upstreams.find` throws. */
export async function gather(ask: Ask, on: GatherParts): Promise<Gathered> {
  const version = ask.model === TASK_MODEL_ID ? undefined : await on.library.published(ask.model)
  if (version === undefined && ask.model !== TASK_MODEL_ID) {
    throw new AppError(
      'model_not_found',
      `There is no character "${ask.model}"; GET /v1/models lists those that exist`,
      {
        param: 'model',
      },
    )
  }
  const ownModel = version === undefined ? undefined : baseModelOf(version.card)
  if (ask.task !== undefined || version === undefined)
    return { upstream: await on.upstreams.find(on.taskModel ?? ownModel) }
  return {
    upstream: await on.upstreams.find(ownModel),
    materials: {
      speaker: { characterId: version.characterId, version: version.number, card: version.card },
      userName: ask.person?.name?.trim() || UNNAMED_USER,
    },
  }
}
