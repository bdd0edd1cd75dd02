/** What an answer is made of: who speaks, and which base model on which server speaks for it. */
import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'
import { frozenDraw } from '#characters/dice.ts'
import { settingsOf, type CharacterSettings } from '#characters/settings.ts'
import { toName } from '#characters/text.ts'
import type { Library } from '#library/library.ts'
import type { Lorebooks } from '#library/lorebooks.ts'
import {
  messageText,
  ownChat,
  type Ask,
  type ChatMessage,
  type Sampling,
  type ToolSpec,
} from '#prompt/ask.ts'
import type { Materials } from '#prompt/prompt.ts'
import { offerTools } from '#prompt/tools.ts'
import { profileOf } from '#providers/model-profiles.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

import { lookUp, type SourceParts, type Looked } from './look-up.ts'
import type { Summaries } from './summary.ts'
import { TASK_MODEL_ID } from './tasks.ts'

export interface Gathered {
  /** The first of the candidates. */
  upstream: Upstream
  /** Servers that have the model. */
  candidates: readonly Upstream[]
  /** Models to be asked when none of them answers. */
  fallbacks: readonly string[]
  /** Absent for a task and for a base model: those have no persona. */
  materials?: Materials
  /** How passages were looked for; absent where there was nothing to look in. */
  trace?: Looked['trace']
}

export interface GatherParts {
  library: Pick<Library, 'published'>
  lorebooks: Pick<Lorebooks, 'of'>
  summaries: Pick<Summaries, 'recall'>
  sources: SourceParts
  upstreams: Upstreams
  /** Base model for Open WebUI's tasks; undefined takes the character's own. */
  taskModel: string | undefined
  /** Decides the dice of a chat; whoever knows it could tell them in advance. */
  diceSecret: string
  /** IANA name of the zone whose date and time characters tell. */
  timeZone: string
  now: () => number
}

/** Stands for `{{user}}` when the caller named nobody. */
const UNNAMED_USER = 'User'
/** A name stands many times in every prompt. */
const USER_NAME_CHARACTERS = 64

/** Throws AppError `model_not_found` for an unknown character, and what `Upstreams.find` throws. */
export async function gather(ask: Ask, on: GatherParts): Promise<Gathered> {
  const version = ask.model === TASK_MODEL_ID ? undefined : await on.library.published(ask.model)
  if (version === undefined && ask.model !== TASK_MODEL_ID) {
    if (ask.mayUseBaseModels !== true) throw noCharacter(ask.model)
    const servers = await serversFor([ask.model], on)
    refuseUnusable(ask, ask.tools, servers.upstream)
    return servers
  }
  // In the same words as for one that does not exist.
  if (version !== undefined && ask.mayAsk?.({ id: version.characterId, tags: version.card.tags }) === false)
    throw noCharacter(ask.model)
  const { model, fallbacks } = version === undefined ? NO_WISH : settingsOf(version.card)
  if (ask.task !== undefined || version === undefined) return serversFor([on.taskModel ?? model], on)
  const servers = await serversFor([model, ...fallbacks], on)
  const { upstream } = servers
  const { characterId, number, card } = version
  refuseUnusable(ask, offerTools(ask.tools, settingsOf(card)).tools, upstream)
  const speaker = { characterId, version: number, card }
  let chat: string | undefined
  const told: Omit<Materials, 'speaker'> = {
    books: on.lorebooks.of(characterId),
    ...(ask.persona !== undefined && { persona: ask.persona }),
    userName: userNameOf(ask),
    clockMs: () => performance.now(),
    scene: {
      modelName: upstream.model.name,
      dice: (field) => frozenDraw(on.diceSecret, (chat ??= chatOf(ask)), characterId, field),
      clock: { nowMs: on.now(), timeZone: on.timeZone },
    },
  }
  const [summaries, looked] = await Promise.all([
    settingsOf(card).summary ? on.summaries.recall(ask, speaker) : undefined,
    lookUp(ask, { speaker, ...told }, on.upstreams.profile(upstream), on.sources),
  ])
  return {
    upstream,
    candidates: servers.candidates,
    fallbacks: servers.fallbacks,
    ...(looked?.trace !== undefined && { trace: looked.trace }),
    materials: {
      speaker,
      ...told,
      ...(summaries !== undefined && { summaries }),
      ...(looked !== undefined && { knowledge: looked.knowledge }),
    },
  }
}

const userNameOf = ({ person }: Ask): string =>
  person?.name === undefined ? UNNAMED_USER : toName(person.name, USER_NAME_CHARACTERS) || UNNAMED_USER

const NO_WISH = { model: undefined, fallbacks: [] }

/** Of the first model that any server has; the rest are what may be fallen back on. */
async function serversFor(models: readonly (string | undefined)[], on: GatherParts): Promise<Gathered> {
  let failure: unknown
  for (const [at, model] of models.entries()) {
    try {
      const candidates = await on.upstreams.all(model)
      const [upstream] = candidates
      if (upstream === undefined) continue
      const fallbacks = models.slice(at + 1).filter((next) => next !== undefined)
      return { upstream, candidates, fallbacks }
    } catch (thrown) {
      failure ??= thrown
    }
  }
  throw failure
}

const noCharacter = (model: string) =>
  new AppError('model_not_found', `There is no character "${model}"; GET /v1/models lists those that exist`, {
    param: 'model',
  })

/** What a model is known not to take would be refused in words of its own, or answered as if it were not there. */
function refuseUnusable(ask: Ask, tools: readonly ToolSpec[], { model }: Upstream): void {
  if (model.sees === false && ask.messages.some(hasPicture)) {
    throw new AppError(
      'invalid',
      `The model ${model.name} cannot see pictures; send text, or take a model that can`,
      { param: 'messages' },
    )
  }
  if (model.usesTools !== false || tools.length === 0 || ask.toolChoice === 'none') return
  throw new AppError(
    'invalid',
    `The model ${model.name} cannot use tools; switch them off for this chat, or take a model that can`,
    { param: 'tools' },
  )
}

const hasPicture = (message: ChatMessage): boolean =>
  message.role === 'user' && message.content.some(({ type }) => type === 'image')

/**
 * Sampling from four sources, option by option: what the request says, else the character, else the makers of the model
 * (its profile). What none of them says stays absent, so that the model's own file or its server decides.
 */
export function withOptions(ask: Ask, { materials, upstream }: Gathered): Ask {
  if (materials === undefined) return ask
  const { options, thinking } = settingsOf(materials.speaker.card)
  const profile = profileOf(upstream.model.name)
  const wish = ask.thinking ?? thinking ?? false
  const published = (wish === false ? undefined : profile?.thinkingSampling) ?? profile?.sampling
  return { ...ask, sampling: Object.assign({}, published, present(options), ask.sampling) }
}

function present(options: CharacterSettings['options']): Sampling {
  const given: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) if (value !== undefined) given[name] = value
  return given
}

/** What tells one chat from another; without an id, who asks and how it began. */
function chatOf(ask: Ask): string {
  const chat = ownChat(ask)
  if (chat !== undefined) return chat
  const { keyId, person, subUser, messages } = ask
  const first = messages.find(({ role }) => role === 'user')
  return sha256Hex(
    [keyId, person?.id ?? subUser ?? '', first === undefined ? '' : messageText(first)].join('\0'),
  )
}
