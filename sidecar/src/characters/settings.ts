/**
 * How a character wants to be run: what stands in `extensions.troupe` of its card. It travels with the card, and has its
 * versions, its differences and its way back like everything else in it.
 */
import { z } from 'zod'

import type { Card } from './card.ts'
import { isObject } from './mend.ts'

const share = z.number().min(0).max(1).optional().catch(undefined)
const numeral = z.number().optional().catch(undefined)
const whole = z.number().int().optional().catch(undefined)

/** What the model is told when the client says nothing else. */
const Options = z.object({
  temperature: z.number().min(0).max(5).optional().catch(undefined),
  topP: share,
  topK: whole,
  minP: share,
  repeatPenalty: numeral,
  frequencyPenalty: numeral,
  presencePenalty: numeral,
  seed: whole,
  maxTokens: z.number().int().positive().optional().catch(undefined),
  stop: z.array(z.string().min(1)).max(16).optional().catch(undefined),
})

/** What SillyTavern has as settings of the whole program; here of a character. */
const Lore = z.object({
  /** Looks further back, message by message, until so many entries are on. */
  minimumActivations: z.number().int().positive().max(100).optional().catch(undefined),
  /** How far back at most, in messages. */
  deepest: z.number().int().positive().optional().catch(undefined),
  /** How often entries may call up others; 0 for never. */
  recursionSteps: z.number().int().min(0).optional().catch(undefined),
})

const Settings = z.object({
  /** Base model. */
  model: z.string().min(1).optional().catch(undefined),
  options: Options.catch({}).default({}),
  /** Whether a model that can think does so, or how hard. */
  thinking: z
    .union([z.boolean(), z.enum(['low', 'medium', 'high'])])
    .optional()
    .catch(undefined),
  /** Names of the tools of clients that it may use; absent for all, empty for none. */
  tools: z.array(z.string().min(1)).max(200).optional().catch(undefined),
  /** `short` leaves out of their schemas what only people read, which saves tokens in every prompt. */
  toolSchemas: z.enum(['whole', 'short']).default('whole').catch('whole'),
  /** Names of sources that plugins bring, which it may look things up in beside its own documents. */
  sources: z.array(z.string().min(1)).max(8).default([]).catch([]),
  /** Base models to be asked when no server can answer with its own, in this order. */
  fallbacks: z.array(z.string().min(1)).max(8).default([]).catch([]),
  /** `sillytavern` puts lore and notes where SillyTavern would, and pays for it with every turn. */
  layout: z.enum(['cache', 'sillytavern']).default('cache').catch('cache'),
  lore: Lore.catch({}).default({}),
  /** Tells the model in a few lines what was said in the turns that no longer fit. */
  summary: z.boolean().default(false).catch(false),
  /** Keeps the texts of some turns, redacted and for some days; who talks to it is told so. Absent for none, as for most. */
  sampling: z
    .object({ share: z.number().gt(0).max(1).default(1), days: z.number().int().min(1).max(90).default(7) })
    .optional()
    .catch(undefined),
})
export type CharacterSettings = z.infer<typeof Settings>

/** A field that makes no sense counts as absent: a card from elsewhere must still speak. */
export function settingsOf({ extensions }: Pick<Card, 'extensions'>): CharacterSettings {
  const known = read.get(extensions)
  if (known !== undefined) return known
  const settings = Settings.catch(() => Settings.parse({})).parse(extensions['troupe'] ?? {})
  read.set(extensions, settings)
  return settings
}

/** Names of all settings. */
export const SETTINGS: ReadonlySet<string> = new Set(Object.keys(Settings.shape))

/** A place in a card, e.g. `extensions.troupe.options.temperature`, and what stands there. */
export interface Senseless {
  path: string
  value: unknown
}

/** What makes no sense in `extensions.troupe` and counts as absent: values, names, or all of it. */
export function senselessSettings({ extensions }: Pick<Card, 'extensions'>): Senseless[] {
  const given = extensions['troupe']
  if (given === undefined) return []
  const all = differing('extensions.troupe', given, settingsOf({ extensions }))
  return all.filter(({ path }) => !CARRIED.has(path))
}

/** No settings: the id under which the character was known, and what stood beside the card (`salvage.ts`). */
const CARRIED: ReadonlySet<string> = new Set(['extensions.troupe.id', 'extensions.troupe.root'])

/** What was read may have more than was given, and in another order. */
function differing(path: string, given: unknown, read: unknown): Senseless[] {
  if (isObject(given) && isObject(read))
    return Object.entries(given).flatMap(([name, value]) => differing(`${path}.${name}`, value, read[name]))
  return JSON.stringify(given) === JSON.stringify(read) ? [] : [{ path, value: given }]
}

/** A turn asks a dozen times. Cards are never changed in place. */
const read = new WeakMap<Card['extensions'], CharacterSettings>()
