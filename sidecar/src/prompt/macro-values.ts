/** What the macros of a character's texts stand for. */
import { spokenName } from '#characters/card.ts'
import type { Clock, MacroValues } from '#characters/macros.ts'

import type { Materials } from './prompt.ts'

/** What the texts of one prompt share. */
export type Shared = Pick<MacroValues, 'variables' | 'outlet'>

/**
 * `field` names the text: its dice are its own. What stands in the prefix takes the clock's day only, since a changed
 * byte there makes the model server read everything behind it again.
 */
export function macroValues(
  materials: Materials,
  field: string,
  grain: Clock['grain'],
  shared: Shared = {},
): MacroValues {
  const { scene } = materials
  const steady = steadyValues(materials)
  if (scene === undefined) return { char: steady.char, user: steady.user, fields: steady.fields, ...shared }
  return {
    char: steady.char,
    user: steady.user,
    fields: steady.fields,
    // Few texts throw dice, and whose they are takes a hash to say.
    draw: (place) => scene.dice(field)(place),
    clock: { grain, nowMs: scene.clock.nowMs, timeZone: scene.clock.timeZone },
    ...shared,
  }
}

type Steady = Pick<MacroValues, 'char' | 'user'> & Required<Pick<MacroValues, 'fields'>>

/** Equal for all texts of one prompt. */
const known = new WeakMap<Materials, Steady>()

function steadyValues(materials: Materials): Steady {
  const before = known.get(materials)
  if (before !== undefined) return before
  const { card } = materials.speaker
  const steady = {
    char: spokenName(card),
    user: materials.userName,
    fields: {
      description: card.description,
      personality: card.personality,
      scenario: card.scenario,
      mesexamples: card.mes_example,
      persona: materials.persona ?? '',
      ...(materials.scene && { model: materials.scene.modelName }),
    },
  }
  known.set(materials, steady)
  return steady
}
