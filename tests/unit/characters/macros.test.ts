import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { frozenDraw, roll } from '#characters/dice.ts'
import { expand, hiddenKeys, reportMacros, type Clock, type MacroValues } from '#characters/macros.ts'

import { timesAsMuch } from '../../support/cpu-time.ts'

const VALUES: MacroValues = { char: 'Ana', user: 'Tom' }

describe('every macro', () => {
  test.each([
    ['{{char}} greets {{user}}', 'Ana greets Tom'],
    ['{{Char}} <BOT> <char> {{ user }}', 'Ana Ana Ana Tom'],
    ['{{{char}}}', '{Ana}'],
    ['{{original}}|', '|'],
    ['a{{// note }}b{{//note}}{{//}}', 'ab'],
    ['a{{comment: x}}b', 'ab'],
    ['a{{hidden_key:dragon}}b', 'ab'],
    ['{{reverse:héllo}}', 'olléh'],
    ['{{reverse:👩‍🚀!}}', '!👩‍🚀'],
    ['x\n\n{{trim}}\n\ny', 'xy'],
    ['x\n{{trim}}{{trim}}\ny\n', 'xy\n'],
    ['a{{newline}}b{{space}}c{{noop}}d', 'a\nb cd'],
    ['{{unknown}} {{random}} {{pick}} {{user x}} {{', '{{unknown}} {{random}} {{pick}} {{user x}} {{'],
    ['{{unknown:{{char}}}}', '{{unknown:Ana}}'],
    ['{{random:}}', ''],
    ['{{random:a\\,b}}', 'a,b'],
    ['{{random: {{char}} }}', 'Ana'],
    ['}} {{char}} }}', '}} Ana }}'],
    ['{{description}}', 'A keeper called Ana, .'],
    ['{{description', '{{description'],
    ['', ''],
  ])('%j becomes %j', (text, expected) => {
    const fields = { description: 'A keeper called {{char}}, {{description}}.' }
    expect(expand(text, { ...VALUES, fields })).toBe(expected)
  })
})

describe('a variable', () => {
  test.each([
    ['{{getvar::mood}}{{setvar::mood::sad}}{{getvar::mood}}', 'sad'],
    ['{{setvar::Mood:: so {{user}} }}{{getvar Mood}}|{{getvar::mood}}', 'so Tom|'],
    ['{{setvar::a::b::c}}{{getvar::a}}', 'b::c'],
    ['{{addvar::n::2}}{{addvar::n::0.5}}{{getvar::n}}', '2.5'],
    ['{{setvar::s::x}}{{addvar::s::y}}{{addvar::s::1}}{{getvar::s}}', 'xy1'],
    ['{{incvar::n}}{{incvar::n}}{{decvar::n}}{{incvar::n}}', '1212'],
    ['{{setglobalvar::n::7}}{{getvar::n}}|{{incglobalvar::n}}{{decglobalvar::n}}{{getglobalvar::n}}', '|877'],
    ['{{addglobalvar::n::3}}{{$n}}|{{.n}}', '3|'],
    ['{{.mood = very sad}}{{ .mood }}{{.n++}}{{.n ++}}{{.n--}}{{.n += 10}}{{.n}}', 'very sad12111'],
    ['{{.a-b = 1}}{{.a-b}}{{getvar::a-b}}', '11'],
    ['{{getvar::{{user}}_mood}}{{setvar::Tom_mood::glad}}{{getvar::{{user}}_mood}}', 'glad'],
    ['{{.}} {{.5}} {{.a b}} {{.a == b}} {{getvar}}', '{{.}} {{.5}} {{.a b}} {{.a == b}} {{getvar}}'],
  ])('%j becomes %j', (text, expected) => {
    expect(expand(text, VALUES)).toBe(expected)
  })

  test('is known to the later texts of a prompt, and what a quoted text sets stays with that text', () => {
    const variables = new Map<string, string>()
    const fields = { description: '{{incvar::n}}' }
    expect(expand('{{setvar::n::4}}', { ...VALUES, variables })).toBe('')
    expect(expand('{{description}}{{getvar::n}}', { ...VALUES, variables, fields })).toBe('54')
    expect(expand('{{getvar::n}}', VALUES)).toBe('')
  })

  test('is put in as it is', () => {
    expect(expand('{{setvar::a::{{user}}}}{{getvar::a}}', { ...VALUES, user: '{{char}}::x' })).toBe(
      '{{char}}::x',
    )
  })
})

describe('a condition', () => {
  const fields = { description: 'A keeper.', personality: '' }
  test.each([
    ['{{if description}}yes{{/if}}', 'yes'],
    ['{{if personality}}yes{{/if}}', ''],
    ['{{if !personality}}none{{/if}}', 'none'],
    ['{{ if personality }}a{{ else }}b{{ /if }}', 'b'],
    ['{{IF Description}}a{{ELSE}}b{{/IF}}', 'a'],
    ['{{if::description}}a{{/if}}{{if :: personality}}b{{/if}}', 'a'],
    ['{{#if user}}a{{/if}}', 'a'],
    ...['', 'false', '0', 'OFF', ' no '].map((value): [string, string] => [
      `{{setvar::x::${value}}}{{if {{getvar::x}}}}a{{else}}b{{/if}}`,
      'b',
    ]),
    ['{{.x = on}}{{if .x}}a{{/if}}{{if !$x}}b{{/if}}{{if .y}}c{{/if}}', 'ab'],
    ['{{if any words}}a{{/if}}', 'a'],
    ['{{if user}}1{{if personality}}2{{else}}3{{if char}}4{{/if}}{{/if}}5{{else}}6{{/if}}7', '13457'],
    ['{{if personality}}{{setvar::x::1}}{{/if}}{{getvar::x}}|', '|'],
    ['{{random:{{if user}}a{{else}}b{{/if}},c}}', 'a'],
    ['{{if::description::short {{char}}}}{{if::personality::gone}}', 'short Ana'],
    ['a {{if user}} b {{char}} {{else}} c {{/if}} d', 'a b Ana d'],
    ['{{# if user}} b {{/if}}', ' b '],
    ['{{if user}}\n    # One\n      two\n    three\n{{/if}}', '# One\n  two\nthree'],
    ['{{if user}} {{if char}} {{else}} b', '{{if user}} {{if char}} {{else}} b'],
    ['{{else}} a {{/if}}', '{{else}} a {{/if}}'],
    ['{{if}}a{{/if}}', '{{if}}a{{/if}}'],
  ])('%j becomes %j', (text, expected) => {
    expect(expand(text, { ...VALUES, fields })).toBe(expected)
  })

  test('a name that is put in is a text, not the name of a macro', () => {
    const user = 'personality'
    expect(expand('{{if {{user}}}}a{{else}}b{{/if}}', { ...VALUES, fields, user })).toBe('a')
  })
})

describe('a choice', () => {
  const last = { ...VALUES, draw: () => 0.999 }
  test.each([
    ['{{random:a, b}}', 'a', 'b'],
    ['{{random::a, b::c}}', 'a, b', 'c'],
    ['{{random:a::b}}', 'a', 'b'],
    ['{{pick:x,y,z}}', 'x', 'z'],
    ['{{pick:{{user}},y}}', 'Tom', 'y'],
    ['{{roll:6}}', '1', '6'],
    ['{{roll:d6}}', '1', '6'],
    ['{{roll 1d6}}', '1', '6'],
    ['{{roll:2d6+1}}', '3', '13'],
    ['{{roll:d20-3}}', '-2', '17'],
    ['{{roll:abc}}', '', ''],
  ])('%s lies between %j and %j', (text, least, most) => {
    expect(expand(text, VALUES)).toBe(least)
    expect(expand(text, last)).toBe(most)
  })

  test.each(['', '0', 'd0', '101d6', 'd1000001', '1d', '2d6+', '-1'])('%j is no dice', (notation) => {
    expect(roll(notation, () => 0.5)).toBe('')
  })

  test('falls once in a chat, place by place, whatever the words around it are', () => {
    const inChat = (chat: string, text: string) =>
      expand(text, { ...VALUES, draw: frozenDraw('secret', chat, 'ana', 'description') })
    const choices = '{{pick:a,b,c,d,e,f}} {{roll:d1000}} {{pick:a,b,c,d,e,f}} {{roll:3d1000}}'
    const once = inChat('chat-1', choices)
    expect(inChat('chat-1', choices)).toBe(once)
    expect(inChat('chat-1', `Edited. ${choices}`)).toBe(`Edited. ${once}`)
    expect(inChat('chat-2', choices)).not.toBe(once)
  })

  test('every side of a die comes up, about as often as the others', () => {
    const counts = new Map<string, number>()
    for (let chat = 0; chat < 6_000; chat++) {
      const side = expand('{{roll:d6}}', { ...VALUES, draw: frozenDraw('secret', String(chat)) })
      counts.set(side, (counts.get(side) ?? 0) + 1)
    }
    expect([...counts.keys()].sort()).toEqual(['1', '2', '3', '4', '5', '6'])
    for (const count of counts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(150)
  })
})

describe('the clock', () => {
  const clock: Clock = { nowMs: Date.UTC(2026, 0, 31, 23, 30), timeZone: 'Europe/Berlin', grain: 'minute' }
  const all = '{{date}}|{{weekday}}|{{isodate}}|{{isotime}}'
  test.each([
    ['shows the day and the minute', clock, 'February 1, 2026|Sunday|2026-02-01|00:30'],
    [
      'shows only the day in the prefix',
      { ...clock, grain: 'day' } as const,
      'February 1, 2026|Sunday|2026-02-01|',
    ],
    ['keeps to its zone', { ...clock, timeZone: 'UTC' }, 'January 31, 2026|Saturday|2026-01-31|23:30'],
    ['is empty where there is none', undefined, '|||'],
  ])('%s', (_name, shown, expected) => {
    expect(expand(all, { ...VALUES, ...(shown && { clock: shown }) })).toBe(expected)
  })
})

test('what is put in is never expanded again, nor read as part of the macro around it', () => {
  const values = { char: 'Ana', user: '{{char}}, {{original}}', original: '{{user}}' }
  expect(expand('{{user}} {{original}}', values)).toBe('{{char}}, {{original}} {{user}}')
  expect(expand('{{random:{{user}}}}', values)).toBe('{{char}}, {{original}}')
  expect(expand('{{random:{{reverse:a,b}}}}', values)).toBe('b,a')
})

test('the text that is replaced is put in once', () => {
  expect(expand('{{original}}-{{original}}', { ...VALUES, original: 'G' })).toBe('G-')
})

test('the newest messages are quoted as they are, and only where they are given', () => {
  const text = '{{lastMessage}}|{{lastUserMessage}}|{{lastCharMessage}}'
  const echo = { lastmessage: '{{char}}', lastusermessage: '{{char}}', lastcharmessage: 'Well?' }
  expect(expand(text, { ...VALUES, echo })).toBe('{{char}}|{{char}}|Well?')
  expect(expand(text, VALUES)).toBe('||')
})

test('hidden keys are for the scan of lore', () => {
  expect(hiddenKeys('The {{hidden_key: dragon }}{{hidden_key:{{char}}}} sleeps', VALUES)).toEqual([
    'dragon',
    'Ana',
  ])
})

test('a hostile text costs no more than a long one', async () => {
  expect(expand('{{char}}'.repeat(9_000), { ...VALUES, char: 'x'.repeat(1_000) })).toHaveLength(1_000_000)
  const hostile = (length: number) => [
    '{{'.repeat(length),
    `{{${' '.repeat(length)}`,
    '{{ a '.repeat(length / 2),
    '{{a}}'.repeat(length / 2),
    '{{random:'.repeat(length / 4) + '}}'.repeat(length / 4),
    `${'\n'.repeat(length)}{{trim}}x`,
    `{{random:${','.repeat(length)}}}`,
    '{{noop}}'.repeat(length / 2),
    '{{if 0}}'.repeat(length / 4) + '{{/if}}'.repeat(length / 4),
    '{{if 1}}{{if 0}}{{else}}'.repeat(length / 5),
    `{{${' '.repeat(length)}if}}`,
    `{{if ${' '.repeat(length / 2)}x${' '.repeat(length / 2)}}}{{/if}}`,
    `{{if 1}}${'\n '.repeat(length)}{{/if}}`,
    `{{.a${' '.repeat(length)}b}}`,
    `{{.${'a-'.repeat(length / 2)}}}`,
  ]
  const read = (texts: readonly string[]) => () => {
    for (const text of texts) {
      expect(expand(text, VALUES).length).toBeLessThanOrEqual(text.length)
      reportMacros(text, { sentAnew: false })
    }
  }
  // Four times as long: one that costs its square among them would make it more than eight times.
  expect(await timesAsMuch(read(hostile(25_000)), read(hostile(100_000)), 8)).toBeLessThanOrEqual(8)
})

test('a variable that doubles itself ends at a paragraph', () => {
  const text = `{{.a = x}}${'{{.a += {{.a}}}}'.repeat(9_000)}{{.b += {{.a}}}}`
  expect(expand(text, VALUES).length).toBeLessThan(text.length + 64 * 1024)
  const variables = new Map([['a', 'x'.repeat(9_000)]])
  expand('{{.a += {{.a}}}}', { ...VALUES, variables })
  expect(variables.get('a')).toHaveLength(10_000)
  expand(Array.from({ length: 3_000 }, (_, at) => `{{.v${String(at)} = 1}}`).join(''), {
    ...VALUES,
    variables,
  })
  expect(variables.size).toBe(1_000)
})

test('braces without end stay as they are', () => {
  expect(expand('{{'.repeat(50_000), VALUES)).toBe('{{'.repeat(50_000))
})

test('text without macros stays as it is', () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !/[{<\0]/.test(text)),
      (text) => {
        expect(expand(text, VALUES)).toBe(text)
      },
    ),
  )
})

test('whatever braces an author writes, nothing is thrown and a name is never expanded', () => {
  const piece = fc.constantFrom(
    '{{',
    '}}',
    '{',
    '}',
    'char',
    'random:',
    ',',
    '::',
    'user',
    ' ',
    '\n',
    'trim',
    '<bot>',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
      const opaque = '{{trim}}'
      const expanded = expand(pieces.join(''), { char: 'Ana', user: opaque, draw: () => 0.5 })
      expect(expanded).not.toContain('\0')
    }),
    { seed: 20_261_123, numRuns: 2_000 },
  )
})

test('macros that nothing replaces are reported once each, and so are those that come out empty', () => {
  const text = '{{char}} {{foo:a}} {{foo:a}} {{lastMessage}} {{banned "x"}} {{random:a}} {{.x = 1}}'
  expect(reportMacros(text, { sentAnew: true })).toEqual({
    unknown: ['{{foo:a}}'],
    emptied: ['{{banned "x"}}'],
  })
  expect(reportMacros(text, { sentAnew: false }).emptied).toEqual(['{{lastMessage}}', '{{banned "x"}}'])
  const conditions = '{{if user}}a{{else}}b{{/if}} {{if::a::b}} {{if char}} {{else}}'
  expect(reportMacros(conditions, { sentAnew: true }).unknown).toEqual(['{{if char}}', '{{else}}'])
})
