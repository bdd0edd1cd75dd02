/**
 * Variables that macros set and read. They live as long as one prompt: its texts are gone through in their order each time,
 * so an edited or branched chat is right by itself, and equal inputs give equal bytes.
 */

/** By name; the names of global ones begin with `$`. */
export type Variables = Map<string, string>

/** A card that asks for more has gone wild. */
const MOST = 1_000
/** A mood, a number, a paragraph; a text that doubles itself stops here. */
const LONGEST_CHARACTERS = 10_000

export function setVariable(variables: Variables, name: string, value: string): void {
  if (variables.size >= MOST && !variables.has(name)) return
  variables.set(name, value.slice(0, LONGEST_CHARACTERS))
}

/** Two numbers become their sum, where a missing one counts as 0; other texts are joined. */
export function addToVariable(variables: Variables, name: string, increment: string): string {
  const present = variables.get(name) ?? ''
  const sum = Number(present) + Number(increment)
  const isNumber = Number.isFinite(sum) && increment.trim() !== ''
  setVariable(variables, name, isNumber ? String(sum) : present + increment)
  return variables.get(name) ?? ''
}
