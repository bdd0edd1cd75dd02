/** How many words a command takes, as its usage says: one that is ignored would be a character that stays as it was. */
import type { Command } from './command.ts'

/** In brackets, and bare ones with their value. */
const OPTIONS = /\[-[^\]]*\]|--[\w-]+( [^\s|[]+)?/g

/** The words that the command has no use for. */
export function surplusWords(words: readonly string[], { name, usage }: Pick<Command, 'name' | 'usage'>) {
  const forms = usage.slice(name.length).replaceAll(OPTIONS, '').split(' | ')
  return words.slice(Math.max(...forms.map(mostOf)))
}

function mostOf(form: string): number {
  if (form.includes('…')) return Infinity
  // "[limits]" stands for options; words are written large.
  return form.split(/\s+/).filter((word) => /^\[?[A-Z]/.test(word)).length
}
