/**
 * The tools that a client offers, as the model gets them: those that the character may use, always in the same order (most
 * templates print them before everything else, so a new order would void the whole prefix), and counted.
 */
import type { CharacterSettings } from '#characters/settings.ts'

import type { ToolSpec } from './ask.ts'
import type { Part } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/** What a JSON schema says to people and programs; a model that calls the tool needs none of it. */
const ANNOTATIONS = new Set(['$schema', '$id', '$comment', 'title', 'examples', 'example', 'deprecated'])

/** About two lines: enough to choose a tool and to fill in a field. */
const DESCRIPTION_CHARACTERS = 160

export interface OfferedTools {
  tools: readonly ToolSpec[]
  /** Their price; empty without tools. */
  parts: readonly Part[]
}

export function offerTools(
  tools: readonly ToolSpec[],
  { tools: allowed, toolSchemas }: Pick<CharacterSettings, 'tools' | 'toolSchemas'>,
): OfferedTools {
  if (tools.length === 0) return { tools: [], parts: [] }
  const isAllowed = ({ name }: ToolSpec) => allowed === undefined || allowed.includes(name)
  const sorted = [...tools].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  const shown = (tool: ToolSpec) => (toolSchemas === 'short' ? shortened(tool) : tool)
  const offered = sorted.filter(isAllowed).map(shown)
  return {
    tools: offered,
    parts: sorted.map((tool): Part => {
      const text = JSON.stringify((offered.find(({ name }) => name === tool.name) ?? tool).spec)
      return {
        kind: 'tools',
        place: 'beside',
        label: tool.name,
        text,
        tokens: estimateTokens(text),
        reason: isAllowed(tool) ? 'offered by the client' : 'left out: the character may not use it',
        dropped: !isAllowed(tool),
      }
    }),
  }
}

const shortened = ({ name, spec }: ToolSpec): ToolSpec => ({
  name,
  spec: withoutAnnotations(spec) as ToolSpec['spec'],
})

/** Names of properties are no annotations, whatever they are called. */
function withoutAnnotations(value: unknown, isProperties = false): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutAnnotations(item))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => isProperties || !ANNOTATIONS.has(key))
      .map(([key, item]) => [
        key,
        key === 'description' && !isProperties && typeof item === 'string'
          ? firstWords(item)
          : withoutAnnotations(item, key === 'properties' && !isProperties),
      ]),
  )
}

function firstWords(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim()
  if (line.length <= DESCRIPTION_CHARACTERS) return line
  const sentence = /^.*?[.!?](?=\s)/.exec(line)?.[0]
  return sentence !== undefined && sentence.length <= DESCRIPTION_CHARACTERS
    ? sentence
    : `${line.slice(0, DESCRIPTION_CHARACTERS - 1)}…`
}
