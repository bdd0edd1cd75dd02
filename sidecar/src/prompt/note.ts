/** The character's note: a text that SillyTavern keeps at a depth of the chat. */
import { z } from 'zod'

import type { Card } from '#characters/card.ts'
import type { Place } from '#characters/lore/place.ts'

const DepthPrompt = z
  .looseObject({
    prompt: z.string().catch(''),
    depth: z.coerce.number().int().min(0).max(9_999).catch(4),
    role: z.union([z.enum(['system', 'user', 'assistant']), z.number()]).catch('system'),
  })
  .catch({ prompt: '', depth: 4, role: 'system' })

/** In SillyTavern's numbering. */
const ROLES = ['system', 'user', 'assistant'] as const

export interface DepthNote {
  /** Empty without a note. */
  prompt: string
  place: Place
}

const NO_NOTE: DepthNote = {
  prompt: '',
  place: { kind: 'at_depth', depth: 4, countedFrom: 'newest', role: 'system' },
}

export function depthNote(card: Card): DepthNote {
  if (card.extensions['depth_prompt'] === undefined) return NO_NOTE
  const { prompt, depth, role } = DepthPrompt.parse(card.extensions['depth_prompt'] ?? {})
  const named = typeof role === 'number' ? (ROLES[role] ?? 'system') : role
  return { prompt, place: { kind: 'at_depth', depth, countedFrom: 'newest', role: named } }
}
