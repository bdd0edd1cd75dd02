import fc from 'fast-check'
import { expect, test } from 'vitest'

import { messageText, type ChatMessage } from '#prompt/ask.ts'
import { withoutSystemRole } from '#prompt/without-system.ts'

const system = (text: string): ChatMessage => ({ role: 'system', text })
const user = (...texts: string[]): ChatMessage => ({
  role: 'user',
  content: texts.map((text) => ({ type: 'text', text })),
})
const assistant = (text: string): ChatMessage => ({ role: 'assistant', text })

test.each([
  [
    'stands before the first words',
    [system('p'), user('a'), assistant('b'), user('c')],
    [user('p', 'a'), assistant('b'), user('c')],
  ],
  [
    'stands alone before a greeting',
    [system('p'), assistant('b'), user('c')],
    [user('p'), assistant('b'), user('c')],
  ],
  [
    'in the middle stands before the next words',
    [user('a'), assistant('b'), system('n'), user('c')],
    [user('a'), assistant('b'), user('n', 'c')],
  ],
  ['at the end stands behind the last words', [user('a'), system('n')], [user('a', 'n')]],
  ['alone is a turn', [system('p')], [user('p')]],
])('a system text %s', (_where, given, expected) => {
  expect(withoutSystemRole(given)).toEqual(expected)
})

test('no system role is left, no word is lost, and the first turns stay what they were', () => {
  const message = fc.oneof(
    fc.string().map(system),
    fc.string().map((text) => user(text)),
    fc.string().map(assistant),
  )
  fc.assert(
    fc.property(fc.string(), fc.array(message), fc.string(), (persona, history, words) => {
      const chat = [system(persona), ...history, user(words)]
      const folded = withoutSystemRole(chat)
      expect(folded.map(({ role }) => role)).not.toContain('system')
      expect(folded[0]?.role).toBe('user')
      const textsOf = (messages: readonly ChatMessage[]) =>
        messages.map(messageText).join('\n').split('\n').sort()
      expect(textsOf(folded)).toEqual(textsOf(chat))
      const next = withoutSystemRole([...chat, assistant('x'), user('y')])
      expect(next.slice(0, folded.length)).toEqual(folded)
    }),
  )
})
