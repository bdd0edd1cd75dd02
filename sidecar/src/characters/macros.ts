/**
 * Macros: one pass from left to right over author-owned text, inner ones first. What is put in is opaque: it is never
 * expanded again, and never read as part of the macro around it. Equal inputs give equal texts.
 */
import { isTrue, readConditions, type Branches, type Conditions } from './macro-conditions.ts'
import type { Draw } from './dice.ts'
import { EMPTIED, evaluateMacro, MOVING, readMacroCall, TRIM, type Evaluation } from './macro-calls.ts'
import { cut } from './text.ts'
import type { Variables } from './variables.ts'

export interface MacroValues {
  char: string
  user: string
  /** The text that the author's own replaces; without one the macro stays empty. */
  original?: string
  /** Author-owned texts that others may quote. Macros in them are expanded, but quote no further text. */
  fields?: Readonly<Partial<Record<FieldName, string>>>
  /** Decides dice and choices; without one the first item and the lowest number are taken. */
  draw?: Draw
  /** What the clock shows where the text is used; without one, macros of the clock stay empty. */
  clock?: Clock
  /** The newest messages, for texts that are sent anew each turn; elsewhere they would change the prefix, and are empty. */
  echo?: Readonly<Record<EchoName, string>>
  /** What earlier texts of the same prompt have set. Changed in place; without it a text has variables of its own. */
  variables?: Variables
  /** The lore that stands where a text asks for it by this name. */
  outlet?: (name: string) => string
}

export type EchoName = 'lastmessage' | 'lastusermessage' | 'lastcharmessage'

export type FieldName = 'description' | 'personality' | 'scenario' | 'persona' | 'mesexamples' | 'model'

export interface Clock {
  nowMs: number
  /** IANA name, e.g. `Europe/Berlin`. */
  timeZone: string
  /** `day` leaves the time of day empty: what stands in the prefix may change once a day at most. */
  grain: 'day' | 'minute'
}

/** What the result may hold at most: a macro bomb multiplies a text, a real card never gets near this. */
const LONGEST = 1_000_000
/** Macros that are replaced in one text; further ones stay as written. */
const MOST = 10_000
/** Deeper braces are text. */
const DEEPEST = 8

/** Replaces the macros that we know; the others stay visible. Linear in the text. */
export function expand(text: string, values: MacroValues): string {
  return hasMacros(text) ? new Pass(text, values, quoter(values)).run() : plain(text)
}

/** The texts of `{{hidden_key:…}}`: no part of the prompt, but the recursive scan of lore sees them. */
export function hiddenKeys(text: string, values: MacroValues): string[] {
  if (!hasMacros(text)) return []
  const pass = new Pass(text, values, quoter(values))
  pass.run()
  return pass.hidden
}

export interface MacroReport {
  /** Stay as written; each once, as written. */
  unknown: string[]
  /** Known, but empty here: what only another program has, and what changes where nothing may change. */
  emptied: string[]
}

/** What an author should know about the macros of a text that is `sentAnew` each turn or not. Linear in the text. */
export function reportMacros(text: string, { sentAnew }: { sentAnew: boolean }): MacroReport {
  const unknown = new Set<string>()
  const emptied = new Set<string>()
  const { branches, jumps } = readConditions(text)
  for (const { 0: written, 1: body = '', 2: end, index } of text.matchAll(WRITTEN)) {
    if (branches.has(index) || jumps.has(index) || readShortIf(body) !== undefined) continue
    const call = readMacroCall(body)
    if (call === undefined) unknown.add(end === '' ? `${written}…}}` : written)
    else if (EMPTIED.has(call.name) || (!sentAnew && MOVING.has(call.name))) emptied.add(written)
  }
  return { unknown: [...unknown], emptied: [...emptied] }
}

/** A macro with its end, or the beginning of one that holds others. */
const WRITTEN = /\{\{\s*([^{}\s][^{}]*)(\}\}|(?=\{\{))/g

// -- the pass ---------------------------------------------------------------------------------------------------------

/** Names without braces, as old cards write them. */
const LEGACY = /<(?:bot|char|user)>/i

/** Of a run of braces the last two open and the first two close, as in `{{{char}}}`. */
const TOKEN = /\{\{(?!\{)|\}\}|<(?:bot|char|user)>/gi

const hasMacros = (text: string): boolean => text.includes('{{') || LEGACY.test(text)
const withoutNul = (text: string): string => (text.includes('\0') ? text.replaceAll('\0', '') : text)
const plain = (text: string): string => cut(withoutNul(text), LONGEST)

type Quote = Evaluation['quote']

/** What the person wrote, and the model's name, are no text of the author: macros in them stay as they are. */
const AS_IT_IS: ReadonlySet<FieldName> = new Set(['persona', 'model'])

/** Quoted texts quote no further text and replace none, and what they set stays with them. */
const quoter =
  (values: MacroValues): Quote =>
  (name) => {
    const text = values.fields?.[name]
    if (text === undefined || AS_IT_IS.has(name)) return text
    const { variables, original: _original, ...others } = values
    const copy = variables === undefined ? others : { variables: new Map(variables), ...others }
    return hasMacros(text) ? new Pass(text, copy, () => undefined).run() : plain(text)
  }

/** What is put in while macros around it are still open is kept apart under a number between two NULs, which no text has. */
class Held {
  readonly #texts: string[] = []

  put(text: string): string {
    this.#texts.push(text)
    return `\0${String(this.#texts.length - 1)}\0`
  }

  restore(text: string): string {
    if (!text.includes('\0')) return text
    return text.replaceAll(/\0(\d+)\0/g, (_whole, index: string) => this.#texts[Number(index)] ?? '')
  }
}

interface Frame {
  /** Where its braces open in the text. */
  start: number
  body: string
}

/** A branch of a condition that is being read. */
interface Branch {
  end: number
  /** Taken away from the beginning of each of its lines. */
  indent: string
}

class Pass {
  readonly hidden: string[] = []
  readonly #text: string
  readonly #values: MacroValues
  readonly #quote: Quote
  readonly #variables: Variables
  readonly #conditions: Conditions
  readonly #held = new Held()
  readonly #seen = new Map<string, number>()
  readonly #frames: Frame[] = []
  readonly #branches: Branch[] = []
  #result = ''
  /** Up to where the text is read. */
  #at = 0
  #ordinal = 0
  #length = 0

  constructor(text: string, values: MacroValues, quote: Quote) {
    this.#text = withoutNul(text)
    this.#values = values
    this.#quote = quote
    this.#variables = values.variables ?? new Map<string, string>()
    this.#conditions = readConditions(this.#text)
  }

  run(): string {
    for (const { 0: token, index } of this.#text.matchAll(TOKEN)) {
      if (this.#ordinal >= MOST || this.#length > LONGEST) break
      if (index >= this.#at) this.#read(token, index)
    }
    const open = this.#frames.map(({ body }) => `{{${body}`).join('')
    const rest = this.#result + open + this.#text.slice(this.#at)
    return cut(trimAround(this.#held.restore(rest)), LONGEST)
  }

  #read(token: string, index: number): void {
    this.#write(this.#between(index))
    this.#at = index + token.length
    if (token === '{{') this.#open(index)
    else if (token === '}}') this.#close()
    else this.#insert(this.#evaluate(token.slice(1, -1)), token)
  }

  /** The words since the last macro, without the blanks at the ends of a branch. */
  #between(index: number): string {
    const words = this.#text.slice(this.#at, index)
    const branch = this.#branches.at(-1)
    if (branch === undefined) return words
    const lines = branch.indent === '' ? words : words.replaceAll(`\n${branch.indent}`, '\n')
    if (index < branch.end) return lines
    this.#branches.pop()
    return lines.trimEnd()
  }

  #open(index: number): void {
    const jump = this.#conditions.jumps.get(index)
    if (jump !== undefined) this.#at = jump
    else if (this.#frames.length < DEEPEST) this.#frames.push({ start: index, body: '' })
    else this.#write('{{')
  }

  #close(): void {
    const frame = this.#frames.pop()
    if (frame === undefined) {
      this.#write('}}')
      return
    }
    const { start, body } = frame
    const branches = this.#conditions.branches.get(start)
    const condition = branches && readIf(body)
    if (branches !== undefined && condition !== undefined) this.#enter(branches, condition)
    else this.#insert(this.#shortIf(body) ?? this.#evaluate(body), `{{${body}}}`)
  }

  #shortIf(body: string): string | undefined {
    const short = readShortIf(body)
    return short && (this.#holds(short.condition) ? this.#held.restore(short.text).trim() : '')
  }

  /** Goes on with the branch that the condition chooses; where it ends, `jumps` leads behind the other one. */
  #enter({ otherwise, ends }: Branches, { condition, keepsBlanks }: If): void {
    const isTrue = this.#holds(condition)
    if (!isTrue) this.#at = otherwise
    const end = (isTrue ? ends[0] : ends[1]) ?? this.#at
    if (keepsBlanks || end <= this.#at) return
    const [blank = ''] = /^\s*/.exec(this.#text.slice(this.#at, end)) ?? []
    this.#at += blank.length
    this.#branches.push({ end, indent: blank.includes('\n') ? blank.slice(blank.lastIndexOf('\n') + 1) : '' })
  }

  #holds(written: string): boolean {
    const isInverted = written.trimStart().startsWith('!')
    const condition = (isInverted ? written.trimStart().slice(1) : written).trim()
    const named = BARE_NAME.test(condition) ? this.#evaluate(condition) : undefined
    return isTrue(named ?? this.#held.restore(condition)) !== isInverted
  }

  #evaluate(body: string): string | undefined {
    const call = readMacroCall(body)
    if (call === undefined) return undefined
    const nth = (this.#seen.get(call.name) ?? 0) + 1
    this.#seen.set(call.name, nth)
    this.#ordinal += 1
    return evaluateMacro(call.name, {
      nth,
      ordinal: this.#ordinal,
      hidden: this.hidden,
      ...call,
      values: this.#values,
      variables: this.#variables,
      quote: this.#quote,
      restore: (text) => this.#held.restore(text),
    })
  }

  /** What has no value stays as it was written. */
  #insert(value: string | undefined, written: string): void {
    this.#length += value?.length ?? 0
    if (value === undefined) this.#write(written)
    else this.#write(this.#frames.length > 0 ? this.#held.put(value) : value)
  }

  #write(text: string): void {
    const frame = this.#frames.at(-1)
    if (frame === undefined) this.#result += text
    else frame.body += text
  }
}

// -- conditions -------------------------------------------------------------------------------------------------------

interface If {
  condition: string
  keepsBlanks: boolean
}

/** A name, or a variable by its sign: they stand in a condition without braces of their own. */
const BARE_NAME = /^(?:[a-z_]+|[.$][\w-]+)$/i

function readIf(body: string): If | undefined {
  const [, mark, condition] = /^\s*(?:(#)\s*)?if(?:\s*::?|(?=[\s!]))([^]*)$/i.exec(body) ?? []
  return condition === undefined ? undefined : { condition, keepsBlanks: mark === '#' }
}

/** `{{if::condition::text}}` */
function readShortIf(body: string): { condition: string; text: string } | undefined {
  const [, condition, text] = /^\s*if\s*::([^]*?)::([^]*)$/i.exec(body) ?? []
  return condition === undefined || text === undefined ? undefined : { condition, text }
}

function trimAround(text: string): string {
  if (!text.includes(TRIM)) return text
  const pieces = text.split(TRIM)
  return pieces
    .map((piece, index) => {
      const start = index === 0 ? 0 : countBreaks(piece, 0, 1)
      const end =
        index === pieces.length - 1 ? piece.length : piece.length - countBreaks(piece, piece.length - 1, -1)
      return piece.slice(Math.min(start, end), end)
    })
    .join('')
}

/** How many line breaks follow each other from a place on, in one direction. */
function countBreaks(text: string, from: number, step: 1 | -1): number {
  let count = 0
  for (let at = from; text[at] === '\n' || text[at] === '\r'; at += step) count++
  return count
}
