/** How a character looks in Open WebUI: the row that stands for its model there. Pure. */
import { createHash } from 'node:crypto'
import { z } from 'zod'

import type { GreetingOffer } from '#characters/greetings.ts'
import { plainWords } from '#characters/text.ts'

/** A published character, as far as Open WebUI shows it. */
export interface SyncCharacter {
  /** Model id. */
  id: string
  name: string
  tagline: string
  tags: readonly string[]
  /** In the author's order, with macros replaced: people read their beginnings. */
  greetings: readonly GreetingOffer[]
  /** Names of the groups that see it; null leaves that to the admin of Open WebUI. */
  groups: readonly string[] | null
  /** A WebP of 256 pixels; null when there is none. */
  portrait: Uint8Array | null
  /** Whether people may send it pictures. */
  takesPictures: boolean
}

/** Written into each row that we make. Rows without it belong to somebody else and are never touched. */
export const Mark = z.looseObject({
  owner: z.literal('troupe'),
  revision: z.string(),
  /** We decide who sees it. */
  grants: z.literal('groups').optional(),
})

/** What Open WebUI calls `suggestion_prompts`: a chip with two lines, and what a click on it says. */
export interface Suggestion {
  title: [string, string]
  content: string
}

export interface DesiredMeta {
  /** A data URL, or empty for Open WebUI's own picture. */
  profile_image_url: string
  description: string
  tags: { name: string }[]
  suggestion_prompts: Suggestion[]
  capabilities: Record<string, boolean>
  /** Left out, it stays as the admin of Open WebUI has it. */
  hidden?: true
}

export interface DesiredRow {
  id: string
  name: string
  meta: DesiredMeta
  groups: readonly string[] | null
  /** Changes whenever name or meta do. */
  revision: string
}

/**
 * What Open WebUI may do around a character. Off is what would put its own instructions or tools into the prompt; files
 * and citations work without. All are named, since for those left out Open WebUI's own defaults count.
 */
const CAPABILITIES = {
  usage: true,
  citations: true,
  status_updates: true,
  file_upload: true,
  file_context: true,
  builtin_tools: false,
  web_search: false,
  image_generation: false,
  code_interpreter: false,
  memory: false,
}

/** A chip has room for a few words of the greeting. */
const OPENING_CHARS = 48

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

const REVISION_CHARS = 16

export function characterRow(character: SyncCharacter): DesiredRow {
  const { id, name, tagline, tags, greetings, portrait, groups, takesPictures } = character
  return withRevision(id, name, groups, {
    profile_image_url:
      portrait === null ? '' : `data:image/webp;base64,${Buffer.from(portrait).toString('base64')}`,
    // Those that were kept by older releases hold what the author wrote.
    description: plainWords(tagline),
    tags: [...new Set(tags.map((tag) => tag.trim()))]
      .filter((tag) => tag !== '')
      .map((tag) => ({ name: tag })),
    suggestion_prompts: greetings.map(({ prompt, greeting }, index) => ({
      title: [index === 0 ? 'Begin the scene' : 'Begin another way', openingWords(greeting)],
      content: prompt,
    })),
    capabilities: { ...CAPABILITIES, vision: takesPictures },
  })
}

/**
 * The model that answers Open WebUI's own tasks. People must be allowed to use it, or titles, tags and follow-ups fail
 * without a word; nobody has to see it.
 */
export function taskRow(id: string): DesiredRow {
  return withRevision(id, 'Troupe tasks', null, {
    profile_image_url: '',
    description: 'Titles, tags and follow-ups of chats. Nobody needs to choose it.',
    tags: [],
    suggestion_prompts: [],
    capabilities: { ...CAPABILITIES, vision: false },
    hidden: true,
  })
}

function withRevision(id: string, name: string, groups: DesiredRow['groups'], meta: DesiredMeta): DesiredRow {
  const hash = createHash('sha256').update(JSON.stringify([name, meta]))
  return { id, name, meta, groups, revision: hash.digest('base64url').slice(0, REVISION_CHARS) }
}

/** The beginning of a greeting as plain text, cut between words. */
function openingWords(greeting: string): string {
  const plain = plainWords(greeting)
  const characters = Array.from(GRAPHEMES.segment(plain), ({ segment }) => segment)
  if (characters.length <= OPENING_CHARS) return plain
  const cut = characters.slice(0, OPENING_CHARS)
  const space = cut.lastIndexOf(' ')
  // Some scripts have no spaces.
  return `${(space > OPENING_CHARS / 2 ? cut.slice(0, space) : cut).join('')}…`
}
