import { expect, test } from 'vitest'

import { messageText } from '#prompt/ask.ts'
import { composeTask } from '#prompt/task.ts'

import { sampleAsk, user } from '../../support/samples.ts'

const PROFILE = { contextTokens: 1_024, tokenRatio: 1 }

test('a task is sent as it came, with a bounded answer', () => {
  const ask = sampleAsk({ messages: [user('### Task:\nGenerate')], sampling: { maxTokens: 9_999 } })
  const prompt = composeTask(ask, PROFILE)
  expect(prompt.messages).toEqual(ask.messages)
  expect(prompt.budget.replyTokens).toBe(512)
})

test('a task longer than the context loses its middle: instructions and newest lines stay', () => {
  const text = `### Task:\nGenerate a title\n${'chatter '.repeat(4_000)}\nthe newest line`
  const prompt = composeTask(sampleAsk({ messages: [user(text)] }), PROFILE)
  const [only] = prompt.messages
  const sent = only === undefined ? '' : messageText(only)
  expect(sent.startsWith('### Task:\nGenerate a title')).toBe(true)
  expect(sent.endsWith('the newest line')).toBe(true)
  expect(sent).toContain('[…]')
  expect(prompt.tokens).toBeLessThanOrEqual(prompt.budget.promptTokens)
})
