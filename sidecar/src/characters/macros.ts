/**
 * Macros: one pass from left to right over author-owned text, inner ones first. What is put in is opaque: it is never
 * expanded again, and never read as part of the macro around it. Equal inputs give equal texts.
 */
import { roll, type Draw } from './dice.ts'
import { cut } from './text.ts'

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
  return run(text, values, (name) => values.fields?.[name])
}

/** The texts of `{{hidden_key:…}}`: no part of the prompt, but the recursive scan of lore sees them. */
export function hiddenKeys(text: string, values: MacroValues): string[] {
  const hidden: string[] = []
  run(text, values, (name) => values.fields?.[name], hidden)
  return hidden
}

export interface MacroReport {
  /** Stay as written; each once, as written. */
  unknown: string[]
  /** Known, but empty here: variables, what only another program has, and what changes where nothing may change. */
  emptied: string[]
}

/** What an author should know about the macros of a text that is `sentAnew` each turn or not. Linear in the text. */
export function reportMacros(text: string, { sentAnew }: { sentAnew: boolean }): MacroReport {
  const unknown = new Set<string>()
  const emptied = new Set<string>()
  for (const [written, body = '', end] of text.matchAll(WRITTEN)) {
    const call = readCall(body)
    if (call === undefined) unknown.add(end === '' ? `${written}…}}` : written)
    else if (EMPTIED.has(call.name) || (!sentAnew && MOVING.has(call.name))) emptied.add(written)
  }
  return { unknown: [...unknown], emptied: [...emptied] }
}

/** A macro with its end, or the beginning of one that holds others. */
const WRITTEN = /\{\{\s*([^{}\s][^{}]*)(\}\}|(?=\{\{))/g

// -- the pass ---------------------------------------------------------------------------------------------------------

/** Of a run of braces the last two open and the first two close, as in `{{{char}}}`. */
/** Names without braces, as old cards write them. */
const LEGACY = /<(?:bot|char|user)>/i

const TOKEN = /\{\{(?!\{)|\}\}|<(?:bot|char|user)>/gi

interface Frame {
  /** As it was written, for a macro that is not replaced. */
  opening: string
  body: string
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

function run(
  source: string,
  values: MacroValues,
  field: (name: FieldName) => string | undefined,
  hidden: string[] = [],
): string {
  const text = source.includes('\0') ? source.replaceAll('\0', '') : source
  if (!text.includes('{{') && !LEGACY.test(text)) return cut(text, LONGEST)
  const held = new Held()
  const state: State = { values, field, hidden, ordinal: 0, seen: new Map() }
  const frames: Frame[] = [{ opening: '', body: '' }]
  const top = () => frames.at(-1) ?? { opening: '', body: '' }
  let at = 0
  let length = 0
  for (const { 0: token, index } of text.matchAll(TOKEN)) {
    if (state.ordinal >= MOST || length > LONGEST) break
    top().body += text.slice(at, index)
    at = index + token.length
    if (token === '{{') {
      if (frames.length <= DEEPEST) frames.push({ opening: token, body: '' })
      else top().body += token
      continue
    }
    const closes = token === '}}' ? (frames.length > 1 ? frames.pop() : undefined) : undefined
    const body = closes?.body ?? token.slice(1, -1)
    const result = token === '}}' && closes === undefined ? undefined : evaluate(body, state, held)
    length += result?.length ?? 0
    const written = closes === undefined ? token : `${closes.opening}${closes.body}}}`
    top().body += result === undefined ? written : frames.length > 1 ? held.put(result) : result
  }
  const rest = frames.map(({ opening, body }) => opening + body).join('') + text.slice(at)
  return cut(trimAround(held.restore(rest)), LONGEST)
}

interface State {
  values: MacroValues
  field: (name: FieldName) => string | undefined
  hidden: string[]
  /** Macros replaced so far: the place of a choice, so that an edit elsewhere in the text does not change it. */
  ordinal: number
  seen: Map<string, number>
}

function evaluate(body: string, state: State, held: Held): string | undefined {
  const call = readCall(body)
  if (call === undefined) return undefined
  const { name, separator, argument } = call
  const nth = (state.seen.get(name) ?? 0) + 1
  state.seen.set(name, nth)
  state.ordinal += 1
  return MACROS[name]?.({ ...state, nth, separator, argument, restore: (text) => held.restore(text) })
}

// -- one macro --------------------------------------------------------------------------------------------------------

interface Call {
  name: string
  separator: string
  argument: string
}

const CALL = /^\s*(\/\/|[a-z_]+)(\s*:{1,2}|\s)?([^]*)$/i

function readCall(body: string): Call | undefined {
  const [, written = '', separator = '', argument = ''] = CALL.exec(body) ?? []
  const name = written.toLowerCase()
  if (!Object.hasOwn(MACROS, name)) return undefined
  const hasArgument = argument.trim() !== '' || separator.includes(':')
  if (TAKES_TEXT.has(name) ? !hasArgument && !OPTIONAL_TEXT.has(name) : hasArgument) return undefined
  if (name !== '//' && hasArgument && separator === '') return undefined
  return { name, separator: separator.trim(), argument }
}

interface Evaluation extends State {
  /** Counts the macros of this name, from 1. */
  nth: number
  separator: string
  argument: string
  restore: (text: string) => string
}

type Macro = (on: Evaluation) => string

const nothing: Macro = () => ''
const quoted =
  (name: FieldName): Macro =>
  ({ field, values }) => {
    const text = field(name)
    return text === undefined ? '' : run(text, values, () => undefined)
  }
const clocked =
  (options: Intl.DateTimeFormatOptions, locale = 'en-US', isTimeOfDay = false): Macro =>
  ({ values: { clock } }) => {
    if (clock === undefined || (isTimeOfDay && clock.grain === 'day')) return ''
    const { timeZone, nowMs } = clock
    return new Intl.DateTimeFormat(locale, { ...options, timeZone }).format(nowMs)
  }

/** Swedish writes dates as ISO 8601 does, and times with a colon. */
const ISO_LOCALE = 'sv-SE'

/** Empty here, said to the author: there are no variables, and no such screen. */
const EMPTIED = new Set([
  'setvar',
  'getvar',
  'addvar',
  'incvar',
  'decvar',
  'setglobalvar',
  'getglobalvar',
  'addglobalvar',
  'incglobalvar',
  'decglobalvar',
  'banned',
])

const echoed =
  (name: EchoName): Macro =>
  ({ values: { echo } }) =>
    echo?.[name] ?? ''

/** Change from turn to turn. */
const MOVING = new Set(['time', 'isotime', 'lastmessage', 'lastusermessage', 'lastcharmessage'])

const TAKES_TEXT = new Set([
  ...EMPTIED,
  'random',
  'pick',
  'roll',
  '//',
  'comment',
  'hidden_key',
  'hiddenkey',
  'reverse',
])
const OPTIONAL_TEXT = new Set(['//'])

const MACROS: Readonly<Record<string, Macro>> = {
  char: ({ values }) => values.char,
  bot: ({ values }) => values.char,
  user: ({ values }) => values.user,
  // Once per text, as SillyTavern does: a second copy of the server's rules only costs context.
  original: ({ values, nth }) => (nth === 1 ? (values.original ?? '') : ''),
  description: quoted('description'),
  personality: quoted('personality'),
  scenario: quoted('scenario'),
  // What the person wrote is no text of the author: macros in it stay as they are.
  persona: ({ field }) => field('persona') ?? '',
  mesexamples: quoted('mesexamples'),
  model: ({ field }) => field('model') ?? '',
  random: choose,
  pick: choose,
  roll: ({ argument, restore, ordinal, values: { draw } }) =>
    roll(restore(argument).trim(), (die) => draw?.(`${String(ordinal)}.${String(die)}`) ?? 0),
  '//': nothing,
  comment: nothing,
  hidden_key: hide,
  hiddenkey: hide,
  reverse: ({ argument, restore }) => reverse(restore(argument)),
  newline: () => '\n',
  space: () => ' ',
  noop: nothing,
  trim: () => TRIM,
  date: clocked({ dateStyle: 'long' }),
  weekday: clocked({ weekday: 'long' }),
  isodate: clocked({ dateStyle: 'short' }, ISO_LOCALE),
  time: clocked({ timeStyle: 'short' }, 'en-US', true),
  isotime: clocked({ timeStyle: 'short' }, ISO_LOCALE, true),
  lastmessage: echoed('lastmessage'),
  lastusermessage: echoed('lastusermessage'),
  lastcharmessage: echoed('lastcharmessage'),
  ...Object.fromEntries([...EMPTIED].map((name) => [name, nothing])),
}

function choose({ argument, separator, restore, ordinal, values: { draw } }: Evaluation): string {
  const items = listed(argument, separator === '::')
  const index = Math.floor((draw?.(String(ordinal)) ?? 0) * items.length)
  return restore(items[index] ?? '')
}

/** Items between `::`, as they stand; else between commas, trimmed, where `\,` is a comma. */
function listed(argument: string, isDouble: boolean): string[] {
  if (isDouble || argument.includes('::')) return argument.split('::')
  if (argument.trim() === '') return []
  return argument.split(/(?<!\\),/).map((item) => item.replaceAll('\\,', ',').trim())
}

function hide({ argument, restore, hidden }: Evaluation): string {
  hidden.push(restore(argument).trim())
  return ''
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' })

const reverse = (text: string): string =>
  Array.from(graphemes.segment(text), ({ segment }) => segment)
    .reverse()
    .join('')

/** Stands for `{{trim}}` until the line breaks around it are known. */
const TRIM = '\0trim\0'

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
