/** Chance: dice as players write them (`6`, `d6`, `2d6+1`), and draws that stay as they fell. */
import { createHmac } from 'node:crypto'

/** A number from 0 up to, but not including, 1 for a place in a text; always the same for the same place. */
export type Draw = (place: string) => number

const NOTATION = /^(?:(\d{1,3})?d)?(\d{1,7})([+-]\d{1,6})?$/i
const MOST_DICE = 100
const MOST_SIDES = 1_000_000

/** The sum as text; empty for what is no dice. `draw` gives a number from 0 up to 1 for each die, counted from 0. */
export function roll(notation: string, draw: (die: number) => number): string {
  const [, count = '1', sides = '', bonus = '0'] = NOTATION.exec(notation) ?? []
  const dice = Number(count)
  const faces = Number(sides)
  if (faces < 1 || faces > MOST_SIDES || dice < 1 || dice > MOST_DICE) return ''
  let sum = Number(bonus)
  for (let die = 0; die < dice; die++) sum += 1 + Math.floor(draw(die) * faces)
  return String(sum)
}

/**
 * Draws that look like chance and are always the same for one scope: the dice of a chat fall once. HMAC, so that nobody
 * without the secret can tell them in advance; 48 bits of it are as even as any game needs.
 */
export function frozenDraw(secret: string, ...scope: readonly string[]): Draw {
  return (place) => {
    const digest = createHmac('sha256', secret)
      .update(['dice', ...scope, place].join('\0'))
      .digest()
    return digest.readUIntBE(0, 6) / 2 ** 48
  }
}
