/** Plain curl: what a shell script sends, and the bytes that it gets. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import {
  BASE_URL,
  CHARACTER,
  EMBEDDER,
  KEY,
  LIMITED,
  LIMITED_KEY,
  PICTURE,
  run,
  SCHEMA,
  SCRIPTED,
  SPENT,
  SPENT_KEY,
  TOLD,
  TOOL,
  TOOLED,
  WRONG_KEY,
} from './checks.mjs'

const execute = promisify(execFile)

async function curl(path, body, key = KEY) {
  const sent = body === undefined ? [] : ['-d', JSON.stringify(body)]
  const headers = ['-H', `authorization: Bearer ${key}`, '-H', 'content-type: application/json']
  const { stdout } = await execute('curl', ['-sN', '-i', ...headers, ...sent, `${BASE_URL}${path}`])
  const at = stdout.indexOf('\r\n\r\n')
  return {
    status: Number(stdout.split(' ', 2)[1]),
    head: stdout.slice(0, at).toLowerCase(),
    text: stdout.slice(at + 4),
  }
}
const say = (content) => [{ role: 'user', content }]
const ask = (body, key) =>
  curl('/chat/completions', { model: CHARACTER, messages: say('Hello'), max_tokens: 16, ...body }, key)
const contentOf = ({ text }) => JSON.parse(text).choices[0].message.content
const refused = async (asked, status, code) => {
  const answer = await asked
  const { error } = JSON.parse(answer.text)
  return (
    answer.status === status &&
    error.code === code &&
    error.message.length > 10 &&
    'param' in error &&
    'type' in error
  )
}

async function heldBack(key, code) {
  const answer = await ask({}, key)
  return answer.head.includes('retry-after: ') && (await refused(answer, 429, code))
}

await run({
  list: async () => JSON.parse((await curl('/models')).text).data.some(({ id }) => id === CHARACTER),
  chat: async () => contentOf(await ask({})).length > 0,
  async stream() {
    const { head, text } = await ask({ stream: true, stream_options: { include_usage: true } })
    const events = text.split('\n\n').filter((event) => event !== '')
    const usages = events.filter((event) => event.includes('"usage":{'))
    return head.includes('text/event-stream') && events.at(-1) === 'data: [DONE]' && usages.length === 1
  },
  async tools() {
    const messages = say('What is the weather in Oslo?')
    const { message } = JSON.parse((await ask({ model: TOOLED, messages, tools: [TOOL] })).text).choices[0]
    messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '12 degrees' })
    return contentOf(await ask({ model: TOOLED, messages, tools: [TOOL] })).includes(TOLD)
  },
  async schema() {
    const response_format = { type: 'json_schema', json_schema: { name: 'person', schema: SCHEMA } }
    return JSON.parse(contentOf(await ask({ response_format, max_tokens: 60 }))).name === 'Mira'
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: PICTURE } },
    ]
    return contentOf(await ask({ model: SCRIPTED, messages: say(content) })) === 'A picture.'
  },
  async embeddings() {
    const { data } = JSON.parse((await curl('/embeddings', { model: EMBEDDER, input: ['one', 'two'] })).text)
    return data.length === 2 && data[0].embedding.length > 4
  },
  400: () => refused(ask({ messages: [] }), 400, 'invalid_request'),
  401: () => refused(ask({}, WRONG_KEY), 401, 'invalid_api_key'),
  404: () => refused(ask({ model: 'nobody' }), 404, 'model_not_found'),
  429: () => heldBack(LIMITED_KEY, LIMITED),
  quota: () => heldBack(SPENT_KEY, SPENT),
})
