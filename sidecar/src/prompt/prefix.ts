/** The byte-stable beginning of every prompt: one system message per character version, user name and client system text. */
import { expand, type MacroValues } from '#characters/macros.ts'
import { settingsOf } from '#characters/settings.ts'

import { fixedLore, isBeforeCharacter, type FixedEntry } from './lore.ts'
import { neutralise } from './neutral.ts'
import type { Materials, Part, PartKind } from './prompt.ts'
import { macroValues } from './macro-values.ts'
import { estimateTokens } from './tokens.ts'

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
  const lore = fixedLore(materials).map(toSection)
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
 * Renders the prefix as parts. Joined by an empty line they are the system message.
 * Client text is not author-owned: macros in it stay as they are.
 */
export function prefixParts(materials: Materials, clientSystem: string): Part[] {
  const names = macroValues(materials, 'heading', 'day')
  const original = expand(DEFAULT_SYSTEM_PROMPT, names)
  return sections(materials, clientSystem)
    .filter((section) => section.text.trim() !== '')
    .map(({ kind, label, heading, text, reason }) => {
      const values = {
        ...macroValues(materials, REPEATED.has(kind) ? `${kind} ${label}` : kind, 'day'),
        original,
      }
      const body = bodyOf(kind, text, values)
      const rendered = heading === undefined ? body : `## ${neutralise(expand(heading, names))}\n${body}`
      return {
        kind,
        place: 'prefix',
        label,
        text: rendered,
        tokens: estimateTokens(rendered) + 1,
        reason,
        dropped: false,
      }
    })
}
