/** What each macro stands for. The pass over a text is in `macros.ts`. */
import { roll } from './dice.ts'
import type { Clock, EchoName, FieldName, MacroValues } from './macros.ts'
import { addToVariable, setVariable, type Variables } from './variables.ts'

export interface MacroCall {
  name: string
  separator: string
  argument: string
}

/** What a macro is told. */
export interface Evaluation {
  values: MacroValues
  variables: Variables
  separator: string
  argument: string
  /** Macros replaced so far: the place of a choice, so that an edit elsewhere in the text does not change it. */
  ordinal: number
  /** Counts the macros of this name, from 1. */
  nth: number
  /** Texts that stand in no prompt. */
  hidden: string[]
  /** Puts back what stands for texts that were put in. */
  restore: (text: string) => string
  /** A field with its macros replaced; undefined for one that may not be quoted here. */
  quote: (name: FieldName) => string | undefined
}

type Macro = (on: Evaluation) => string

const CALL = /^\s*(\/\/|[a-z_]+)(\s*:{1,2}|\s)?([^]*)$/i
/** `{{.mood}}`, `{{$mood = sad}}`, `{{.count++}}`, `{{.count += 2}}`. */
const SHORTHAND = /^\s*([.$])([a-z](?:[\w-]*[a-z\d])?)\s*(\+\+|--|\+=|=(?!=)|$)([^]*)$/i

/** Undefined for what is no macro that we know: it stays as it was written. */
export function readMacroCall(body: string): MacroCall | undefined {
  const [, written = '', separator = '', argument = ''] = CALL.exec(body) ?? []
  const name = written.toLowerCase()
  if (!Object.hasOwn(MACROS, name)) return readShorthand(body)
  const hasArgument = argument.trim() !== '' || separator.includes(':')
  if (TAKES_TEXT.has(name) ? !hasArgument && !OPTIONAL_TEXT.has(name) : hasArgument) return undefined
  if (name !== '//' && hasArgument && separator === '') return undefined
  return { name, separator: separator.trim(), argument }
}

const BY_OPERATOR: Readonly<Record<string, string>> = {
  '': 'get',
  '=': 'set',
  '+=': 'add',
  '++': 'inc',
  '--': 'dec',
}

function readShorthand(body: string): MacroCall | undefined {
  const [, sign, name = '', operator = '', rest = ''] = SHORTHAND.exec(body) ?? []
  if (sign === undefined) return undefined
  const takesValue = operator.endsWith('=')
  if (!takesValue && rest.trim() !== '') return undefined
  return {
    name: `${BY_OPERATOR[operator] ?? 'get'}${sign === '$' ? 'globalvar' : 'var'}`,
    separator: '::',
    argument: takesValue ? `${name}::${rest}` : name,
  }
}

/** Throws away nothing: an unknown name gives undefined. */
export const evaluateMacro = (name: string, on: Evaluation): string | undefined => MACROS[name]?.(on)

/** Stands for `{{trim}}` until the line breaks around it are known. */
export const TRIM = '\0trim\0'

// -- one macro --------------------------------------------------------------------------------------------------------

const nothing: Macro = () => ''
const quoted =
  (name: FieldName): Macro =>
  ({ quote }) =>
    quote(name) ?? ''
const clocked =
  (options: Intl.DateTimeFormatOptions, locale = 'en-US', isTimeOfDay = false): Macro =>
  ({ values: { clock } }) => {
    if (clock === undefined || (isTimeOfDay && clock.grain === GRAIN_OF_PREFIX)) return ''
    const { timeZone, nowMs } = clock
    return new Intl.DateTimeFormat(locale, { ...options, timeZone }).format(nowMs)
  }
const GRAIN_OF_PREFIX: Clock['grain'] = 'day'

/** Swedish writes dates as ISO 8601 does, and times with a colon. */
const ISO_LOCALE = 'sv-SE'

const echoed =
  (name: EchoName): Macro =>
  ({ values: { echo } }) =>
    echo?.[name] ?? ''

/** The name, and what stands behind the first `::`. Split before anything is put back, so that no text that was put in is split. */
function named({ argument, restore }: Evaluation, scope: string): [name: string, value: string] {
  const [name = '', ...rest] = argument.split('::')
  return [scope + restore(name).trim(), restore(rest.join('::')).trim()]
}

/** Those of a chat and those of all chats, told apart by a sign before the name. */
function variableMacros(ending: string, scope: string): Record<string, Macro> {
  const step =
    (by: string): Macro =>
    (on) =>
      addToVariable(on.variables, named(on, scope)[0], by)
  return {
    [`get${ending}`]: (on) => on.variables.get(named(on, scope)[0]) ?? '',
    [`set${ending}`]: (on) => {
      setVariable(on.variables, ...named(on, scope))
      return ''
    },
    [`add${ending}`]: (on) => {
      addToVariable(on.variables, ...named(on, scope))
      return ''
    },
    [`inc${ending}`]: step('1'),
    [`dec${ending}`]: step('-1'),
  }
}

const VARIABLES = { ...variableMacros('var', ''), ...variableMacros('globalvar', '$') }

/** Empty here, said to the author: there is no such list of words. */
export const EMPTIED: ReadonlySet<string> = new Set(['banned'])

/** Change from turn to turn. */
export const MOVING: ReadonlySet<string> = new Set([
  'time',
  'isotime',
  'lastmessage',
  'lastusermessage',
  'lastcharmessage',
])

const TAKES_TEXT: ReadonlySet<string> = new Set([
  ...EMPTIED,
  ...Object.keys(VARIABLES),
  'random',
  'pick',
  'roll',
  '//',
  'comment',
  'hidden_key',
  'hiddenkey',
  'reverse',
  'outlet',
])
const OPTIONAL_TEXT: ReadonlySet<string> = new Set(['//'])

const MACROS: Readonly<Record<string, Macro>> = {
  char: ({ values }) => values.char,
  bot: ({ values }) => values.char,
  user: ({ values }) => values.user,
  // Once per text, as SillyTavern does: a second copy of the server's rules only costs context.
  original: ({ values, nth }) => (nth === 1 ? (values.original ?? '') : ''),
  description: quoted('description'),
  personality: quoted('personality'),
  scenario: quoted('scenario'),
  persona: quoted('persona'),
  mesexamples: quoted('mesexamples'),
  model: quoted('model'),
  outlet: ({ argument, restore, values }) => values.outlet?.(restore(argument).trim()) ?? '',
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
  ...VARIABLES,
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
