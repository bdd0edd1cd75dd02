/** What somebody pastes to use a new key. Pure. */

export interface Block {
  /** What it is for, where a snippet has more than one. */
  title?: string
  text: string
}

export interface Snippet {
  title: string
  explains?: string
  blocks: readonly Block[]
}

export interface SnippetParts {
  /** Of this server, without a path. */
  origin: string
  secret: string
  scopes: readonly string[]
  /** The id of a character that the key may ask. */
  model: string
}

/** The most common way first; only what the key may do. */
export function snippetsFor(parts: SnippetParts): Snippet[] {
  const { scopes } = parts
  const may = (scope: string) => scopes.includes(scope)
  if (may('chat')) return [chatByCurl(parts), chatByPython(parts), chatByJavaScript(parts), openWebUi(parts)]
  return [
    ...(may('models') ? [listByCurl(parts)] : []),
    ...(may('embeddings') ? [embeddingsByCurl(parts), embeddingsByPython(parts)] : []),
    ...(may('metrics') ? [prometheus(parts)] : []),
    ...(may('admin') ? [adminByCurl(parts), commandLine(parts)] : []),
  ]
}

const EMBEDDING_MODEL = 'NAME-OF-THE-EMBEDDING-MODEL'
const EMBEDDING_HINT = 'Put in the name of an embedding model of your model server.'

const curl = (address: string, secret: string, body?: object): string =>
  [
    `curl ${address}`,
    `-H 'Authorization: Bearer ${secret}'`,
    ...(body === undefined ? [] : [`-H 'Content-Type: application/json'`, `-d '${JSON.stringify(body)}'`]),
  ].join(' \\\n  ')

const chatByCurl = ({ origin, secret, model }: SnippetParts): Snippet => ({
  title: 'curl',
  blocks: [
    {
      text: curl(`${origin}/v1/chat/completions`, secret, {
        model,
        messages: [{ role: 'user', content: 'Hello' }],
      }),
    },
  ],
})

const chatByPython = ({ origin, secret, model }: SnippetParts): Snippet => ({
  title: 'Python',
  explains: 'With the package “openai”.',
  blocks: [
    {
      text: `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${secret}")
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`,
    },
  ],
})

const chatByJavaScript = ({ origin, secret, model }: SnippetParts): Snippet => ({
  title: 'JavaScript',
  explains: 'With the package “openai”. On a web page everybody can read the key.',
  blocks: [
    {
      text: `import OpenAI from 'openai'

const client = new OpenAI({ baseURL: '${origin}/v1', apiKey: '${secret}' })
const answer = await client.chat.completions.create({
  model: '${model}',
  messages: [{ role: 'user', content: 'Hello' }],
})
console.log(answer.choices[0].message.content)`,
    },
  ],
})

/** Which request is which: Open WebUI fills these in, and the sidecar believes them from keys that speak for people. */
export const CONNECTION_HEADERS = {
  'X-Troupe-Task': '{{TASK}}',
  'X-Troupe-Chat-Id': '{{CHAT_ID}}',
  'X-Troupe-Message-Id': '{{MESSAGE_ID}}',
  'X-Troupe-User-Message-Id': '{{USER_MESSAGE_ID}}',
  'X-Troupe-Parent-Id': '{{USER_MESSAGE_PARENT_ID}}',
  'X-Troupe-Model-Id': '{{MODEL_ID}}',
  'X-Troupe-Groups': '{{USER_GROUPS}}',
} as const

const openWebUi = ({ origin, secret, scopes }: SnippetParts): Snippet => ({
  title: 'Open WebUI',
  explains:
    'There, in the settings of the admin, under Connections, add one of the kind OpenAI. Choose “Troupe tasks” as its task model, so that titles are not written by a character.',
  blocks: [
    { title: 'URL', text: `${origin}/v1` },
    { title: 'Key (Bearer)', text: secret },
    ...(scopes.includes('forward-user') ? forwarding : []),
  ],
})

const forwarding: readonly Block[] = [
  { title: 'Headers', text: JSON.stringify(CONNECTION_HEADERS, null, 2) },
  {
    title: 'Environment of that Open WebUI; the secret is the OPENWEBUI_JWT_SECRET of Troupe',
    text: `ENABLE_FORWARD_USER_INFO_HEADERS=true
FORWARD_USER_INFO_HEADER_JWT_SECRET=…
FORWARD_USER_INFO_HEADER_JWT_EXPIRES_SECONDS=60`,
  },
]

const listByCurl = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'curl, list',
  blocks: [{ text: curl(`${origin}/v1/models`, secret) }],
})

const embeddingsByCurl = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'curl',
  explains: EMBEDDING_HINT,
  blocks: [{ text: curl(`${origin}/v1/embeddings`, secret, { model: EMBEDDING_MODEL, input: ['Hello'] }) }],
})

const embeddingsByPython = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'Python',
  explains: `With the package “openai”. ${EMBEDDING_HINT}`,
  blocks: [
    {
      text: `from openai import OpenAI

client = OpenAI(base_url="${origin}/v1", api_key="${secret}")
answer = client.embeddings.create(model="${EMBEDDING_MODEL}", input=["Hello"])
print(answer.data[0].embedding)`,
    },
  ],
})

const prometheus = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'Prometheus',
  explains: 'Under scrape_configs of its configuration.',
  blocks: [
    {
      text: `- job_name: troupe
  scheme: ${new URL(origin).protocol.slice(0, -1)}
  authorization:
    credentials: ${secret}
  static_configs:
    - targets: ['${new URL(origin).host}']`,
    },
  ],
})

const adminByCurl = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'curl, administration',
  explains: `What else there is stands in ${origin}/troupe/api/openapi.json.`,
  blocks: [{ text: curl(`${origin}/troupe/api/characters`, secret) }],
})

const commandLine = ({ origin, secret }: SnippetParts): Snippet => ({
  title: 'Command line',
  explains: 'In a copy of Troupe.',
  blocks: [
    { text: `export TROUPE_URL=${origin}\nexport TROUPE_ADMIN_KEY=${secret}\nnpm run troupe -- --help` },
  ],
})
