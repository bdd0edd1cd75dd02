import { describe, expect, test } from 'vitest'

import { brokenError, readRefusal, refusalError } from '#providers/refusal.ts'

const WORDS = {
  title: 'Ollama',
  name: 'http://gpu:11434',
  whenSilent: 'start it',
  whenForbidden: 'set a key',
  whenMissing: (model: string) => `pull it first: ollama pull ${model}`,
}

const LLAMA_CPP =
  '{"error":{"code":400,"message":"request (12030 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":12030,"n_ctx":4096}}'

test('a server that quotes what it was sent does not give our key away', () => {
  const said = `Bearer ${'k'.repeat(400)} may not do this`
  const words = { ...WORDS, secrets: ['k'.repeat(400), 'other'] }
  for (const error of [
    refusalError(500, said, 'm', words),
    refusalError(500, JSON.stringify({ error: { message: said } }), 'm', words),
    brokenError({ message: said }, 'm', words),
  ]) {
    expect(error.message).not.toContain('kkk')
    expect(error.message).toContain('[our key]')
  }
})

describe('a prompt that is too long is recognised', () => {
  test.each([
    ['llama.cpp', LLAMA_CPP],
    [
      'llama.cpp within an answer',
      '{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}',
    ],
    ['Ollama 0.17', '{"error":"the input length exceeds the context length"}'],
    [
      'Ollama 0.33',
      '{"error":"the prompt is longer than the context length currently available to the model"}',
    ],
    ['Ollama around llama.cpp', JSON.stringify({ error: LLAMA_CPP })],
    [
      'Ollama around llama.cpp, with words before it',
      JSON.stringify({ error: `llama-server: ${LLAMA_CPP}` }),
    ],
    [
      'vLLM, flat',
      '{"object":"error","message":"This model\'s maximum context length is 4096 tokens. However, you requested 5000 tokens (4900 in the messages, 100 in the completion). Please reduce the length of the messages or completion.","type":"BadRequestError","param":null,"code":400}',
    ],
    [
      'vLLM, nested',
      '{"error":{"message":"The decoder prompt (length 12030) is longer than the maximum model length of 4096.","type":"BadRequestError","param":null,"code":400}}',
    ],
    [
      'vLLM, later',
      '{"error":{"message":"You passed 5000 input tokens and requested 100 output tokens. However, the model\'s context length is only 4096 tokens, resulting in a maximum input length of 3996 tokens.","code":400}}',
    ],
    [
      'LM Studio',
      '{"error":"Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}',
    ],
    [
      'LM Studio, later',
      '{"error":"The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 10247 >= n_ctx: 4096)."}',
    ],
    [
      'OpenAI',
      '{"error":{"message":"Too long.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}',
    ],
  ])('%s', (_name, body) => {
    expect(refusalError(400, body, 'mira:1b', WORDS)).toMatchObject({
      code: 'context_length',
      message: expect.stringContaining('"mira:1b"'),
    })
    expect(brokenError(JSON.parse(body), 'mira:1b', WORDS).code).toBe('context_length')
  })
})

test('the numbers of an overflow are kept, also from the inner of two envelopes', () => {
  const facts = { promptTokens: 12_030, contextTokens: 4_096 }
  expect(refusalError(400, LLAMA_CPP, 'mira:1b', WORDS).facts).toEqual(facts)
  const wrapped = refusalError(400, JSON.stringify({ error: LLAMA_CPP }), 'mira:1b', WORDS)
  expect(wrapped.facts).toEqual(facts)
  expect(wrapped.message).toContain('(12030 tokens)')
  expect(wrapped.message).toContain('(4096 tokens)')
})

test.each([
  [404, '{"error":"model \'mira:1b\' not found"}', 'model_not_found', 'ollama pull mira:1b'],
  [
    404,
    '{"error":{"message":"The model `mira:1b` does not exist.","code":404}}',
    'model_not_found',
    'mira:1b',
  ],
  [404, '404 page not found', 'upstream', '404 page not found'],
  [400, '{"error":"\\"mira:1b\\" does not support tools"}', 'invalid', 'does not support tools'],
  [422, '{"detail":[{"loc":["body","n"],"msg":"too many"}]}', 'invalid', 'too many'],
  [401, '{"error":{"message":"Invalid API Key"}}', 'upstream', 'set a key'],
  [403, 'Forbidden', 'upstream', 'set a key'],
  [408, '', 'upstream_timeout', '408'],
  [413, '<html>Request Entity Too Large</html>', 'too_large', 'Too Large'],
  [429, '{"error":{"message":"slow down"}}', 'unavailable', 'slow down'],
  [500, '{"error":"llama runner process has terminated"}', 'upstream', 'terminated'],
  [502, '<h1>Bad Gateway</h1>', 'unavailable', 'Bad Gateway'],
  [
    503,
    '{"error":"server busy, please try again.  maximum pending requests exceeded"}',
    'unavailable',
    'server busy',
  ],
  [504, '', 'upstream_timeout', '504'],
])('status %i with %s is %s', (status, body, code, said) => {
  expect(refusalError(status, body, 'mira:1b', WORDS)).toMatchObject({
    code,
    message: expect.stringContaining(said),
    facts: { status },
  })
})

test('how long a server wants to be left alone is handed on, within reason', () => {
  const waitOf = (retryAfter: string) =>
    refusalError(429, 'slow down', 'm', WORDS, retryAfter).facts['retryAfterSeconds']
  expect(['7', ' 1.5 ', '99999', '', '0', '-3', 'soon', 'Fri, 27 Nov 2026 00:00:00 GMT'].map(waitOf)).toEqual(
    [...[7, 2, 3_600], ...Array.from({ length: 5 }, () => undefined)],
  )
})

test('who asks is told which field is at fault', () => {
  expect(refusalError(404, '{"error":"model not found"}', 'm', WORDS).param).toBe('model')
  expect(refusalError(400, LLAMA_CPP, 'm', WORDS).param).toBe('messages')
})

test.each([
  ['nothing', ''],
  ['broken JSON', '{"error":'],
  ['a number', '7'],
  ['an object of its own kind', '{"fault":"disk"}'],
  ['a list of faults', '{"detail":[{"loc":["body"],"msg":"field required"}]}'],
  [
    'an envelope in an envelope in an envelope',
    '{"error":{"error":{"error":{"error":{"error":{"error":"deep"}}}}}}',
  ],
  ['null', '{"error":null}'],
])('any body is read: %s', (_name, body) => {
  const refusal = readRefusal(body)
  expect(refusal.isOverflow).toBe(false)
  expect(refusal.message.length).toBeLessThanOrEqual(301)
})

test('a long text is cut, and stays one line', () => {
  const { message } = readRefusal(JSON.stringify({ error: 'word\n'.repeat(500) }))
  expect(message).toHaveLength(301)
  expect(message).not.toContain('\n')
})
