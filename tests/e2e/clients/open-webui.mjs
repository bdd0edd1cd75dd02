/** A stock Open WebUI as a client: what it makes of our answers, asked by its own interface as an admin. */
import { given, refusals, run } from './checks.mjs'

const { origin, token } = given.openWebUi

async function request(route, body) {
  const answer = await fetch(`${origin}${route}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (answer.ok) return text
  throw Object.assign(new Error(text), { status: answer.status })
}
const json = async (route, body) => JSON.parse(await request(route, body))
const say = (content) => [{ role: 'user', content }]
const chat = (body) =>
  json('/api/chat/completions', {
    ...{ model: given.character, messages: say('Hello'), max_tokens: 16 },
    ...body,
  })
const contentOf = async (answer) => (await answer).choices[0].message.content

/** A second connection with another key, whose models have a word before their names. */
async function connect(key) {
  const config = await json('/openai/config')
  const at = config.OPENAI_API_BASE_URLS.length
  const prefix = `held-${at}`
  await request('/openai/config/update', {
    ...config,
    OPENAI_API_BASE_URLS: [...config.OPENAI_API_BASE_URLS, given.url],
    OPENAI_API_KEYS: [...config.OPENAI_API_KEYS, key],
    OPENAI_API_CONFIGS: {
      ...config.OPENAI_API_CONFIGS,
      [at]: { enable: true, prefix_id: prefix, connection_type: 'external', auth_type: 'bearer' },
    },
  })
  await request('/api/models?refresh=true')
  return `${prefix}.${given.character}`
}

async function ask({ key, ...body }) {
  if (key === undefined) return chat(body)
  // Open WebUI looks at the models of a connection when an admin enters its address and key.
  if (key === given.wrongKey) return request('/openai/verify', { url: given.url, key })
  return chat({ model: await connect(key) })
}

function told({ status, message: text }) {
  const { message, ...envelope } = JSON.parse(text).error
  return { status, ...envelope, says: message }
}

const TOOL = `
class Tools:
    def get_weather(self, city: str) -> str:
        """
        Tells the weather of a city
        :param city: name of the city
        """
        return "12 degrees" if city == "Oslo" else "unknown"
`

/** A saved chat whose answer Open WebUI writes by itself, with the tool calls that it takes. */
async function answerInChat(model, words, toolIds) {
  const question = { id: 'question', parentId: null, childrenIds: ['answer'], role: 'user', content: words }
  const empty = { id: 'answer', parentId: 'question', childrenIds: [], role: 'assistant', content: '', model }
  const history = { messages: { question, answer: empty }, currentId: 'answer' }
  const { id } = await json('/api/v1/chats/new', { chat: { title: 'Test', models: [model], history } })
  await json('/api/chat/completions', {
    ...{ model, messages: say(words), stream: true, chat_id: id, id: 'answer', session_id: 'test' },
    ...{ tool_ids: toolIds, params: { function_calling: 'native' } },
  })
  for (;;) {
    const { messages } = (await json(`/api/v1/chats/${id}`)).chat.history
    if (messages.answer.done === true || messages.answer.error) return JSON.stringify(messages.answer)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

await run({
  list: async () => (await json('/api/models')).data.some(({ id }) => id === given.character),
  chat: async () => (await contentOf(chat({}))).length > 0,
  async stream() {
    const asked = { model: given.character, messages: say('Hello'), stream: true, max_tokens: 16 }
    const text = await request('/api/chat/completions', {
      ...asked,
      stream_options: { include_usage: true },
    })
    return text.match(/"usage": ?\{/g)?.length === 1 && text.trimEnd().endsWith('data: [DONE]')
  },
  async tools() {
    const id = `weather_of_${given.character.replaceAll('-', '_')}`
    await request('/api/v1/tools/create', { id, name: 'Weather', content: TOOL, meta: {} })
    return (await answerInChat(given.tooled, given.question, [id])).includes(given.told)
  },
  schema: async () =>
    JSON.parse(await contentOf(chat({ response_format: given.format, max_tokens: 60 }))).name === 'Mira',
  image: async () =>
    (await contentOf(chat({ model: given.scripted, messages: say(given.sight) }))) === 'A picture.',
  /** A document is stored and found again. */
  async embeddings() {
    const engine = { RAG_EMBEDDING_ENGINE: 'openai', RAG_EMBEDDING_MODEL: given.embedder }
    await request('/api/v1/retrieval/embedding/update', engine)
    const collection = `notes-of-${given.character}`
    const stored = {
      name: 'note',
      content: 'The harbour freezes in March.',
      collection_name: collection,
    }
    await request('/api/v1/retrieval/process/text', stored)
    const query = { collection_names: [collection], query: 'When does the harbour freeze?', k: 1 }
    const { documents } = await json('/api/v1/retrieval/query/collection', query)
    return documents[0][0] === stored.content
  },
  ...refusals(ask, told, ['kind', 'waits']),
})
