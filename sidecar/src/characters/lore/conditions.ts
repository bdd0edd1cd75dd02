/** Which character and which kind of request an entry is meant for, and what it reads besides the messages. */
import type { Extensions } from './extensions.ts'

/** Both lists count, each where it names something. */
export interface CharacterFilter {
  isExclude: boolean
  names: string[]
  tags: string[]
}

export interface LoreCharacter {
  names: readonly string[]
  tags: readonly string[]
}

/** Texts that an entry may be called up by although nobody said them. */
export type Source =
  | 'persona_description'
  | 'character_description'
  | 'character_personality'
  | 'character_depth_prompt'
  | 'scenario'
  | 'creator_notes'

export const SOURCE_NAMES: Readonly<Record<Source, string>> = {
  persona_description: "the user's description",
  character_description: "the character's description",
  character_personality: "the character's personality",
  character_depth_prompt: "the character's note",
  scenario: 'the scenario',
  creator_notes: "the creator's notes",
}

export const SOURCES = Object.keys(SOURCE_NAMES) as readonly Source[]

export const sourcesOf = (st: Extensions): Source[] =>
  SOURCES.filter((source) => st[`match_${source}`] === true)

const folded = (names: readonly string[]): string[] => names.map((name) => name.trim().toLowerCase())

export function characterFilterOf({ character_filter: filter }: Extensions): CharacterFilter | undefined {
  const names = folded(filter?.names ?? [])
  const tags = folded(filter?.tags ?? [])
  if (names.length === 0 && tags.length === 0) return undefined
  return { isExclude: filter?.isExclude ?? false, names, tags }
}

/** Why the entry is not meant for this character; undefined where it is. */
export function refusesCharacter(
  filter: CharacterFilter | undefined,
  character: LoreCharacter,
): string | undefined {
  if (filter === undefined) return undefined
  const suits = (wanted: readonly string[], own: readonly string[]) =>
    wanted.length === 0 || folded(own).some((name) => wanted.includes(name)) !== filter.isExclude
  if (!suits(filter.names, character.names)) return 'it is meant for other characters'
  return suits(filter.tags, character.tags) ? undefined : 'it is meant for characters with other tags'
}

/** Every request here is an ordinary one; SillyTavern's other kinds are a swipe, a continuation and so on. */
export const isForOrdinaryRequests = (triggers: readonly string[]): boolean =>
  triggers.length === 0 || triggers.includes('normal')
