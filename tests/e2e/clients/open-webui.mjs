/** A stock Open WebUI as a client: what it makes of our answers, asked by its own interface as an admin. */
import {
  BASE_URL,
  CHARACTER,
  EMBEDDER,
  failure,
  LIMITED,
  LIMITED_KEY,
  PICTURE,
  run,
  SCHEMA,
  SCRIPTED,
  SPENT,
  SPENT_KEY,
  TOLD,
  TOOLED,
  WRONG_KEY,
} from './checks.mjs'

const { OPEN_WEBUI_URL, OPEN_WEBUI_TOKEN, GONE } = process.env

async function ask(route, body) {
  const answer = await fetch(`${OPEN_WEBUI_URL}${route}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${OPEN_WEBUI_TOKEN}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  if (answer.ok) return text
  throw Object.assign(new Error(text), { status: answer.status, headers: answer.headers })
}
const askJson = async (route, body) => JSON.parse(await ask(route, body))
const say = (content) => [{ role: 'user', content }]
const chat = (body) =>
  askJson('/api/chat/completions', { model: CHARACTER, messages: say('Hello'), max_tokens: 16, ...body })
const contentOf = ({ choices }) => choices[0].message.content
/** Open WebUI looks at the models of a connection when an admin enters its address and key. */
const verify = (key) => ask('/openai/verify', { url: BASE_URL, key })
const refused = async (action, status, code) => {
  const error = await failure(action)
  return error.status === status && JSON.parse(error.message).error.code === code
}

/** A second connection with another key, whose models have a word before their names. */
async function heldBack(key, code) {
  const config = await askJson('/openai/config')
  const at = config.OPENAI_API_BASE_URLS.length
  const prefix = `held-${at}`
  await ask('/openai/config/update', {
    ...config,
    OPENAI_API_BASE_URLS: [...config.OPENAI_API_BASE_URLS, BASE_URL],
    OPENAI_API_KEYS: [...config.OPENAI_API_KEYS, key],
    OPENAI_API_CONFIGS: {
      ...config.OPENAI_API_CONFIGS,
      [at]: { enable: true, prefix_id: prefix, connection_type: 'external', auth_type: 'bearer' },
    },
  })
  await ask('/api/models?refresh=true')
  return refused(() => chat({ model: `${prefix}.${CHARACTER}` }), 429, code)
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
  const { id } = await askJson('/api/v1/chats/new', { chat: { title: 'Test', models: [model], history } })
  await askJson('/api/chat/completions', {
    ...{ model, messages: say(words), stream: true, chat_id: id, id: 'answer', session_id: 'test' },
    ...{ tool_ids: toolIds, params: { function_calling: 'native' } },
  })
  for (;;) {
    const { messages } = (await askJson(`/api/v1/chats/${id}`)).chat.history
    if (messages.answer.done === true || messages.answer.error) return JSON.stringify(messages.answer)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

await run({
  list: async () => (await askJson('/api/models')).data.some(({ id }) => id === CHARACTER),
  chat: async () => contentOf(await chat({})).length > 0,
  async stream() {
    const asked = { model: CHARACTER, messages: say('Hello'), stream: true, max_tokens: 16 }
    const text = await ask('/api/chat/completions', {
      ...asked,
      stream_options: { include_usage: true },
    })
    return text.match(/"usage": ?\{/g)?.length === 1 && text.trimEnd().endsWith('data: [DONE]')
  },
  async tools() {
    const id = `weather_of_${CHARACTER.replaceAll('-', '_')}`
    await ask('/api/v1/tools/create', { id, name: 'Weather', content: TOOL, meta: {} })
    const answer = await answerInChat(TOOLED, 'What is the weather in Oslo?', [id])
    return answer.includes(TOLD)
  },
  async schema() {
    const response_format = { type: 'json_schema', json_schema: { name: 'person', schema: SCHEMA } }
    return JSON.parse(contentOf(await chat({ response_format, max_tokens: 60 }))).name === 'Mira'
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: PICTURE } },
    ]
    return contentOf(await chat({ model: SCRIPTED, messages: say(content) })) === 'A picture.'
  },
  /** A document is stored and found again. */
  async embeddings() {
    const engine = { RAG_EMBEDDING_ENGINE: 'openai', RAG_EMBEDDING_MODEL: EMBEDDER }
    await ask('/api/v1/retrieval/embedding/update', engine)
    const collection = `notes-of-${CHARACTER}`
    const stored = {
      name: 'note',
      content: 'The harbour freezes in March.',
      collection_name: collection,
    }
    await ask('/api/v1/retrieval/process/text', stored)
    const query = { collection_names: [collection], query: 'When does the harbour freeze?', k: 1 }
    const { documents } = await askJson('/api/v1/retrieval/query/collection', query)
    return documents[0][0] === stored.content
  },
  400: () => refused(() => chat({ n: 99 }), 400, 'invalid_request'),
  401: () => refused(() => verify(WRONG_KEY), 401, 'invalid_api_key'),
  404: () => refused(() => chat({ model: GONE }), 404, 'model_not_found'),
  429: () => heldBack(LIMITED_KEY, LIMITED),
  quota: () => heldBack(SPENT_KEY, SPENT),
})
