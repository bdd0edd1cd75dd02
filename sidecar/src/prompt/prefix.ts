/** The byte-stable beginning of every prompt: one system message per character version, user name and client system text. */
import { hash } from 'node:crypto'

import { createCache } from '#base/cache.ts'
import type { Card, Lorebook } from '#characters/card.ts'
import { expand, type MacroValues } from '#characters/macros.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Variables } from '#characters/variables.ts'

import { fixedLore, fixedOutlets, isBeforeCharacter, type FixedEntry } from './lore.ts'
import { neutralise } from './neutral.ts'
import { askedOutlets, isAskedFor, textAt } from './outlets.ts'
import type { Materials, Part, PartKind } from './prompt.ts'
import { macroValues } from './macro-values.ts'
import { estimateTokens, JOIN_TOKENS } from './tokens.ts'

/** Used when a card brings no system prompt of its own, and for `{{original}}` in one that does. */
const DEFAULT_SYSTEM_PROMPT =
  'You are {{char}}, in conversation with {{user}}. Answer only as {{char}}, in the voice described below. ' +
  'Never write the words or actions of {{user}}.'

interface Section {
  kind: PartKind
  label: string
  heading?: string
  text: string
  reason: string
}

/** Example dialogues, block by block; a text without the tag is one block. */
function exampleBlocks(text: string): string[] {
  return text
    .split(/<START>/i)
    .map((block) => block.trim())
    .filter((block) => block !== '')
}

const toSection = (fixed: FixedEntry, index: number): Section & { isBefore: boolean } => ({
  kind: 'lore',
  label: fixed.entry.label,
  ...(index === 0 ? { heading: 'World' } : {}),
  text: fixed.entry.content,
  reason: `a constant entry of ${fixed.book}`,
  isBefore: isBeforeCharacter(fixed),
})

function sections(materials: Materials, clientSystem: string): Section[] {
  const { card } = materials.speaker
  const { prefix } = askedOutlets(card)
  const lore = fixedLore(materials)
    .filter(({ entry }) => !isAskedFor(entry, prefix))
    .map(toSection)
  const isCompatible = settingsOf(card).layout === 'sillytavern'
  const before = isCompatible ? lore.filter(({ isBefore }) => isBefore) : []
  return [
    {
      kind: 'system_prompt',
      label: 'System prompt',
      text: card.system_prompt.trim() || DEFAULT_SYSTEM_PROMPT,
      reason: card.system_prompt.trim()
        ? "the card's own system prompt"
        : "the server's default; the card has none",
    },
    ...before,
    { kind: 'persona', label: 'Description', heading: '{{char}}', text: card.description, reason: 'always' },
    {
      kind: 'personality',
      label: 'Personality',
      heading: 'Personality',
      text: card.personality,
      reason: 'always',
    },
    { kind: 'scenario', label: 'Scenario', heading: 'Scenario', text: card.scenario, reason: 'always' },
    ...lore.filter((section) => !before.includes(section)),
    ...exampleBlocks(card.mes_example).map((block, index): Section => ({
      kind: 'examples',
      label: `Example ${String(index + 1)}`,
      ...(index === 0 ? { heading: 'How {{char}} speaks' } : {}),
      text: block,
      reason: 'a fixed part of this version',
    })),
    {
      kind: 'greeting',
      label: 'Greeting',
      heading: 'How {{char}} begins a conversation',
      text: card.first_mes,
      reason: 'Open WebUI has no greeting of its own; quoted so that the voice is known from the first line',
    },
    {
      kind: 'user_persona',
      label: "The user's persona",
      heading: '{{user}}',
      text: materials.persona ?? '',
      reason: 'what the person tells of themselves',
    },
    {
      kind: 'client_system',
      label: "The client's system text",
      heading: 'Further instructions',
      text: clientSystem,
      reason: 'sent by the client; last, because it may change',
    },
  ]
}

/** What is not the author's is never expanded; what a client's operator wrote is left as it is. */
function bodyOf(kind: PartKind, text: string, values: MacroValues): string {
  if (kind === 'client_system') return text.trim()
  return neutralise(kind === 'user_persona' ? text : expand(text, values)).trim()
}

/** Kinds of which there are several, told apart by their labels. */
const REPEATED: ReadonlySet<PartKind> = new Set(['lore', 'examples'])

/**
 * The prefix as parts. Joined by an empty line they are the system message. Sets the variables that its texts set.
 * Client text is not author-owned: macros in it stay as they are.
 */
export function prefixParts(
  materials: Materials,
  clientSystem: string,
  variables: Variables = new Map<string, string>(),
): readonly Part[] {
  const { card } = materials.speaker
  const books = (materials.books ?? []).map(({ book }) => book)
  if (!isSteady(card, books)) return renderPrefix(materials, clientSystem, variables)
  const key = JSON.stringify([numberOf(card), materials.userName, materials.persona, clientSystem])
  const known = rendered.get(key)
  if (known?.books.length === books.length && known.books.every((book, at) => book === books[at])) {
    return known.parts
  }
  const parts = renderPrefix(materials, clientSystem, variables)
  rendered.set(key, { books, parts })
  return parts
}

interface Rendered {
  books: readonly Lorebook[]
  parts: readonly Part[]
}

/** More than talk at the same time in a large house; most prefixes have some thousand characters. */
const RENDERED_KEPT = 2_000
const LARGEST_CHARACTERS = 32 * 1_048_576

/**
 * To render a prefix costs more than the rest of a turn, and gives the same for the same person as long as the card and its
 * books are the same. Both are replaced, never changed in place.
 */
const rendered = createCache<Rendered>('prefix', {
  most: RENDERED_KEPT,
  largest: LARGEST_CHARACTERS,
  sizeOf: ({ parts }) => parts.reduce((sum, { text }) => sum + text.length, 1),
})

const numbers = new WeakMap<Card, number>()
let lastNumber = 0

/** Tells the cards of the process apart. */
function numberOf(card: Card): number {
  const known = numbers.get(card)
  if (known !== undefined) return known
  lastNumber += 1
  numbers.set(card, lastNumber)
  return lastNumber
}

const steady = new WeakMap<Card | Lorebook, boolean>()

/** Names are all that its macros ask for; dice and clocks may give something else in another chat or on another day. */
const isSteady = (card: Card, books: readonly Lorebook[]): boolean => [card, ...books].every(asksForNamesOnly)

function asksForNamesOnly(source: Card | Lorebook): boolean {
  const known = steady.get(source)
  if (known !== undefined) return known
  const isIt = hasNamesOnly(JSON.stringify(source))
  steady.set(source, isIt)
  return isIt
}

const hasNamesOnly = (text: string): boolean => !text.replaceAll(NAMES, '').includes('{{')

const NAMES = /\{\{\s*(?:char|user|original)\s*\}\}/gi

/**
 * Texts of the prefix as their author wrote them, where their macros ask for more than names: what lorebooks, variables, dice and
 * clocks gave is not known afterwards.
 */
export const unsteadyTexts = (materials: Materials): Pick<Section, 'kind' | 'label' | 'text'>[] =>
  sections(materials, '').filter(({ text }) => !hasNamesOnly(text))

interface Printed {
  /** The system message that the parts make. */
  text: string
  /** Equal for equal texts only. */
  hash: string
}

const printed = new WeakMap<readonly Part[], Printed>()

export function printPrefix(parts: readonly Part[]): Printed {
  const known = printed.get(parts)
  if (known !== undefined) return known
  const text = parts
    .filter((part) => part.place === 'prefix' && !part.dropped)
    .map((part) => part.text)
    .join('\n\n')
  const fresh = { text, hash: hashOf(text) }
  printed.set(parts, fresh)
  return fresh
}

const hashOf = (text: string): string => hash('sha256', text, 'base64url').slice(0, 16)

/** The hash of a prompt without a prefix. */
export const NO_PREFIX = hashOf('')

function renderPrefix(materials: Materials, clientSystem: string, variables: Variables): Part[] {
  const names = macroValues(materials, 'heading', 'day')
  // Once for all: what stands at an outlet does not see what the texts around it set.
  const waiting = fixedOutlets(materials, askedOutlets(materials.speaker.card).prefix, variables)
  const shared = { variables, outlet: (name: string) => textAt(name, waiting) }
  const original = expand(DEFAULT_SYSTEM_PROMPT, names)
  return sections(materials, clientSystem)
    .filter((section) => section.text.trim() !== '')
    .map(({ kind, label, heading, text, reason }) => {
      const values = {
        // All other texts replace nothing.
        original: kind === 'system_prompt' ? original : '',
        ...macroValues(materials, REPEATED.has(kind) ? `${kind} ${label}` : kind, 'day', shared),
      }
      const body = bodyOf(kind, text, values)
      const rendered = heading === undefined ? body : `## ${neutralise(expand(heading, names))}\n${body}`
      return {
        kind,
        place: 'prefix',
        label,
        text: rendered,
        tokens: estimateTokens(rendered) + JOIN_TOKENS,
        reason,
        dropped: false,
      }
    })
}
