/** How a character shares the window of a model: what is spent before anybody speaks, and how many turns are left. */
import { settingsOf } from '#characters/settings.ts'
import type { Library } from '#library/library.ts'
import type { Lorebooks } from '#library/lorebooks.ts'
import { compose, LORE_SHARE } from '#prompt/compose.ts'
import { hasMovingLore } from '#prompt/lore.ts'
import { PASSAGE_SHARE } from '#prompt/passages.ts'
import { printPrefix } from '#prompt/prefix.ts'
import type { PartKind } from '#prompt/prompt.ts'
import { MESSAGE_OVERHEAD_TOKENS } from '#prompt/tokens.ts'
import type { Upstreams } from '#providers/upstreams.ts'

import { lookUp, type SourceParts } from './look-up.ts'

/** A question of two lines and an answer of a paragraph, as chats with characters run. */
const TURN_TOKENS = 200

export interface Room {
  model: string
  contextTokens: number
  /** Kept free for the answer. */
  replyTokens: number
  /** What stands in every prompt, by kind of part. */
  parts: Partial<Record<PartKind, number>>
  personaTokens: number
  /** The model server counted the persona; else it is estimated, upwards. */
  isCounted: boolean
  /** The most that called-up lore may take. */
  loreTokens: number
  /** The most that passages may take; 0 without documents, or where all of them stand in every prompt. */
  passageTokens: number
  historyTokens: number
  /** About so many turns of the chat fit beside all that. */
  turns: number
}

export interface RoomParts {
  library: Pick<Library, 'get' | 'version'>
  lorebooks: Pick<Lorebooks, 'of'>
  sources: SourceParts
  upstreams: Upstreams
}

/** In estimated tokens, upper bounds. Throws AppError `context_length` when the persona does not fit, and what `find` throws. */
export async function roomOf(
  { character, model }: { character: string; model?: string | undefined },
  on: RoomParts,
): Promise<Room> {
  const { publishedVersion, latestVersion } = await on.library.get(character)
  const { card, number } = await on.library.version(character, publishedVersion ?? latestVersion)
  const { model: own, options, summary } = settingsOf(card)
  const upstream = await on.upstreams.find(model ?? own)
  const ask = {
    model: character,
    messages: [{ role: 'user' as const, content: [] }],
    sampling: options.maxTokens === undefined ? {} : { maxTokens: options.maxTokens },
    tools: [],
  }
  const told = {
    speaker: { characterId: character, version: number, card },
    books: on.lorebooks.of(character),
    userName: 'User',
    // None is written yet, but their room is kept free from the first turn on.
    ...(summary && { summaries: [] }),
  }
  const looked = await lookUp(ask, told, on.upstreams.profile(upstream), on.sources)
  const materials = { ...told, ...(looked !== undefined && { knowledge: looked.knowledge }) }
  const composed = () => compose(ask, materials, on.upstreams.profile(upstream))
  await on.upstreams.measure(upstream, printPrefix(composed().parts).text)
  const prompt = composed()
  const parts: Room['parts'] = {}
  for (const { kind, tokens, dropped } of prompt.parts)
    if (!dropped && kind !== 'user') parts[kind] = (parts[kind] ?? 0) + tokens
  const exact = on.upstreams.profile(upstream).knownTokens?.(printPrefix(prompt.parts).text)
  const personaTokens = prompt.tokens - MESSAGE_OVERHEAD_TOKENS
  const { contextTokens, replyTokens, promptTokens, historyTokens = 0 } = prompt.budget
  const most = (share: number) => Math.floor(Math.min(promptTokens * share, promptTokens - personaTokens))
  return {
    ...{ model: upstream.model.name, contextTokens, replyTokens, parts, personaTokens },
    isCounted: exact !== undefined,
    loreTokens: hasMovingLore(materials) ? most(LORE_SHARE) : 0,
    passageTokens: looked?.knowledge.isWhole === false ? most(PASSAGE_SHARE) : 0,
    historyTokens,
    turns: Math.floor(historyTokens / TURN_TOKENS),
  }
}
