import { describe, expect, test } from 'vitest'

import { taskOf, TASK_MODEL_ID } from '#chat/tasks.ts'

import { assistant, user } from '../../support/samples.ts'

const turn = { model: 'mira', stream: false, messages: [user('Hello')] }

describe('a request is a task', () => {
  test.each([
    ['title_generation', '### Task:\nGenerate a concise title summarizing the chat history\n### Guidelines'],
    ['follow_up_generation', '### Task:\nPredict 3-5 useful messages this user might naturally send next'],
    ['tags_generation', '### Task:\nGenerate 1-3 broad tags categorizing the main themes'],
    ['query_generation', '### Task:\nAnalyze the chat history to determine the necessity of'],
    ['emoji_generation', "Your task is to reflect the speaker's likely facial expression"],
  ])('%s by the opening of its text', (task, text) => {
    expect(taskOf({ ...turn, messages: [user(text)] })).toBe(task)
  })

  test('by the header, whatever the text; a name that is new to us is not repeated, as it could be anything', () => {
    expect(taskOf({ ...turn, header: 'memory_review' })).toBe('task')
  })

  test('when it is sent to the hidden task model', () => {
    expect(taskOf({ ...turn, model: TASK_MODEL_ID })).toBe('task')
  })
})

describe('a request is a turn', () => {
  const title = '### Task:\nGenerate a concise title summarizing the chat history'
  test.each([
    ['an ordinary question', turn],
    [
      "Open WebUI's template around attached files",
      { ...turn, messages: [user('### Task:\nRespond to the user query using')] },
    ],
    ['a task text typed into a chat (it streams)', { ...turn, stream: true, messages: [user(title)] }],
    ['a task text with the id of an answer', { ...turn, messageId: 'm1', messages: [user(title)] }],
    ['a task text after a conversation', { ...turn, messages: [user('a'), assistant('b'), user(title)] }],
  ])('%s', (_name, signs) => {
    expect(taskOf(signs)).toBeUndefined()
  })
})
