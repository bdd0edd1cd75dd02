/** Plain curl: what a shell script sends, and the bytes that it gets. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

import { given, refusals, run } from './checks.mjs'

const execute = promisify(execFile)

/** Throws what it got where the status is not 200. */
async function curl(path, body, key = given.key) {
  const sent = body === undefined ? [] : ['-d', JSON.stringify(body)]
  const headers = ['-H', `authorization: Bearer ${key}`, '-H', 'content-type: application/json']
  const { stdout } = await execute('curl', ['-sN', '-i', ...headers, ...sent, `${given.url}${path}`])
  const at = stdout.indexOf('\r\n\r\n')
  const status = Number(stdout.split(' ', 2)[1])
  const answer = { status, head: stdout.slice(0, at).toLowerCase(), text: stdout.slice(at + 4) }
  if (status === 200) return answer
  throw answer
}
const say = (content) => [{ role: 'user', content }]
const ask = ({ key, ...body }) =>
  curl('/chat/completions', { model: given.character, messages: say('Hello'), max_tokens: 16, ...body }, key)
const messageOf = async (answer) => JSON.parse((await answer).text).choices[0].message
const contentOf = async (answer) => (await messageOf(answer)).content

function told({ status, head, text }) {
  const { message, ...envelope } = JSON.parse(text).error
  return { status, ...envelope, waits: /^retry-after: [1-9]/m.test(head), says: message }
}

await run({
  list: async () => JSON.parse((await curl('/models')).text).data.some(({ id }) => id === given.character),
  chat: async () => (await contentOf(ask({}))).length > 0,
  async stream() {
    const { head, text } = await ask({ stream: true, stream_options: { include_usage: true } })
    const events = text.split('\n\n').filter((event) => event !== '')
    const usages = events.filter((event) => event.includes('"usage":{'))
    return head.includes('text/event-stream') && events.at(-1) === 'data: [DONE]' && usages.length === 1
  },
  async tools() {
    const messages = say(given.question)
    const asked = { model: given.tooled, messages, tools: [given.tool] }
    const message = await messageOf(ask(asked))
    messages.push(message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '12 degrees' })
    return (await contentOf(ask(asked))).includes(given.told)
  },
  schema: async () =>
    JSON.parse(await contentOf(ask({ response_format: given.format, max_tokens: 60 }))).name === 'Mira',
  image: async () =>
    (await contentOf(ask({ model: given.scripted, messages: say(given.sight) }))) === 'A picture.',
  async embeddings() {
    const asked = { model: given.embedder, input: ['one', 'two'] }
    const { data } = JSON.parse((await curl('/embeddings', asked)).text)
    return data.length === 2 && data[0].embedding.length > 4
  },
  ...refusals(ask, told, ['kind']),
})
