/** What the macros of a character's texts stand for. */
import { spokenName } from '#characters/card.ts'
import type { Clock, MacroValues } from '#characters/macros.ts'

import type { Materials } from './prompt.ts'

/**
 * `field` names the text: its dice are its own. What stands in the prefix takes the clock's day only, since a changed
 * byte there makes the model server read everything behind it again.
 */
export function macroValues(materials: Materials, field: string, grain: Clock['grain']): MacroValues {
  const { card } = materials.speaker
  const { scene } = materials
  return {
    char: spokenName(card),
    user: materials.userName,
    fields: {
      description: card.description,
      personality: card.personality,
      scenario: card.scenario,
      mesexamples: card.mes_example,
      persona: materials.persona ?? '',
      ...(scene && { model: scene.modelName }),
    },
    ...(scene && { draw: scene.dice(field), clock: { ...scene.clock, grain } }),
  }
}
