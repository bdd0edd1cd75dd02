/**
 * A model server that answers as each request asks it to (see behaviour.ts), in OpenAI's words or in Ollama's.
 * Everything that it sends is composed once; only the clocks in the tokens are written anew.
 */
import { createServer, type Socket } from 'node:net'

import {
  type Behaviour,
  clockOffsets,
  clockUs,
  composeToken,
  MODEL,
  readBehaviour,
  toDigits,
  toMarker,
} from './behaviour.ts'
import { createRequestReader, type RequestHead } from './http-wire.ts'

const CONTEXT_TOKENS = 32_768
const PROMPT_TOKENS = 120

interface Template {
  bytes: Buffer
  clockOffsets: readonly number[]
}

/** One entry for each write; the first carries the head. */
type Answer = readonly Template[]

// -- what is said -----------------------------------------------------------------------------------------------------

const toTemplate = (text: string): Template => ({
  bytes: Buffer.from(text, 'latin1'),
  clockOffsets: clockOffsets(text),
})

const composeJson = (body: unknown, status = '200 OK'): Template => {
  const text = JSON.stringify(body)
  return toTemplate(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  )
}

const STREAM_END = '0\r\n\r\n'
const streamHead = (contentType: string) =>
  `HTTP/1.1 200 OK\r\ncontent-type: ${contentType}\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n`
const framed = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const event = (value: unknown) => framed(`data: ${JSON.stringify(value)}\n\n`)
const line = (value: unknown) => framed(`${JSON.stringify(value)}\n`)

const tokensOf = ({ chunks, fillerBytes }: Behaviour): string[] => {
  const filler = 'and the lamp burns '.repeat(Math.ceil(fillerBytes / 19)).slice(0, fillerBytes)
  return Array.from({ length: chunks }, (_, sequence) => composeToken(sequence) + ' ' + filler)
}

const usageOf = ({ chunks }: Behaviour) => ({
  prompt_tokens: PROMPT_TOKENS,
  completion_tokens: chunks,
  total_tokens: PROMPT_TOKENS + chunks,
})

const CHUNK = { id: 'chatcmpl-bench', object: 'chat.completion.chunk', created: 1_700_000_000, model: MODEL }

function composeOpenAiStream(behaviour: Behaviour, wantsUsage: boolean): Answer {
  const choice = (delta: object, finish: string | null) =>
    event({ ...CHUNK, choices: [{ index: 0, delta, finish_reason: finish }] })
  const tokens = tokensOf(behaviour).map((content, sequence) =>
    choice({ ...(sequence === 0 ? { role: 'assistant' } : {}), content }, null),
  )
  const usage = wantsUsage ? event({ ...CHUNK, choices: [], usage: usageOf(behaviour) }) : ''
  const end = choice({}, 'stop') + usage + framed('data: [DONE]\n\n') + STREAM_END
  return inWrites(streamHead('text/event-stream; charset=utf-8'), tokens, end, behaviour)
}

function composeOpenAiJson(behaviour: Behaviour): Answer {
  const message = { role: 'assistant', content: tokensOf(behaviour).join('') }
  const choices = [{ index: 0, message, logprobs: null, finish_reason: 'stop' }]
  return [composeJson({ ...CHUNK, object: 'chat.completion', choices, usage: usageOf(behaviour) })]
}

const OLLAMA_CHUNK = { model: MODEL, created_at: '2026-01-01T00:00:00.000000Z' }
const ollamaEnd = ({ chunks }: Behaviour) => ({
  done: true,
  done_reason: 'stop',
  total_duration: 1_000_000,
  load_duration: 1_000,
  prompt_eval_count: PROMPT_TOKENS,
  prompt_eval_duration: 1_000,
  eval_count: chunks,
  eval_duration: 1_000_000,
})

function composeOllamaStream(behaviour: Behaviour): Answer {
  const said = (content: string) => ({ ...OLLAMA_CHUNK, message: { role: 'assistant', content } })
  const tokens = tokensOf(behaviour).map((content) => line({ ...said(content), done: false }))
  const end = line({ ...said(''), ...ollamaEnd(behaviour) }) + STREAM_END
  return inWrites(streamHead('application/x-ndjson'), tokens, end, behaviour)
}

function composeOllamaJson(behaviour: Behaviour): Answer {
  const message = { role: 'assistant', content: tokensOf(behaviour).join('') }
  return [composeJson({ ...OLLAMA_CHUNK, message, ...ollamaEnd(behaviour) })]
}

function inWrites(head: string, tokens: readonly string[], end: string, behaviour: Behaviour): Answer {
  if (behaviour.intervalMs === 0 && behaviour.firstMs === 0) return [toTemplate(head + tokens.join('') + end)]
  const parts = behaviour.intervalMs === 0 ? [tokens.join('')] : tokens
  const [first = '', ...others] = parts
  const pieces = [...(behaviour.firstMs === 0 ? [head + first] : [head, first]), ...others]
  return pieces.map((piece, index) => toTemplate(index === pieces.length - 1 ? piece + end : piece))
}

const FIXED: Readonly<Record<string, Template>> = {
  'GET /v1/models': composeJson({
    object: 'list',
    data: [{ id: MODEL, object: 'model', created: 0, owned_by: 'vllm', max_model_len: CONTEXT_TOKENS }],
  }),
  'GET /api/version': composeJson({ version: '0.17.4' }),
  'GET /api/tags': composeJson({
    models: [
      {
        name: MODEL,
        model: MODEL,
        modified_at: OLLAMA_CHUNK.created_at,
        size: 1,
        digest: 'bench',
        details: {},
      },
    ],
  }),
  'POST /api/show': composeJson({
    details: { family: 'llama' },
    model_info: { 'general.architecture': 'llama', 'llama.context_length': CONTEXT_TOKENS },
    capabilities: ['completion'],
  }),
}
const NOT_FOUND = composeJson(
  { error: { message: 'There is nothing here', type: 'not_found' } },
  '404 Not Found',
)

// -- when it is said --------------------------------------------------------------------------------------------------

/** The body is searched, not parsed: at full load parsing would cost more than the whole answer. */
const isTrue = (body: Buffer, name: string) =>
  body.includes(`"${name}":true`) || body.includes(`"${name}": true`)
const isFalse = (body: Buffer, name: string) =>
  body.includes(`"${name}":false`) || body.includes(`"${name}": false`)

const answers = new Map<string, Answer>()

function findAnswer(path: string, body: Buffer, behaviour: Behaviour): Answer {
  const isOllama = path === '/api/chat'
  const isStream = isOllama ? !isFalse(body, 'stream') : isTrue(body, 'stream')
  const wantsUsage = isTrue(body, 'include_usage')
  const key = `${path} ${String(isStream)} ${String(wantsUsage)} ${toMarker(behaviour)}`
  const known = answers.get(key)
  if (known !== undefined) return known
  const json = isOllama ? composeOllamaJson : composeOpenAiJson
  const stream = isOllama ? composeOllamaStream : composeOpenAiStream
  const answer = isStream ? stream(behaviour, wantsUsage) : json(behaviour)
  answers.set(key, answer)
  return answer
}

function write(socket: Socket, { bytes, clockOffsets: offsets }: Template): void {
  if (offsets.length === 0) {
    socket.write(bytes)
    return
  }
  const copy = Buffer.from(bytes)
  const digits = toDigits(clockUs())
  for (const offset of offsets) copy.write(digits, offset, 'latin1')
  socket.write(copy)
}

/** `onEnd` does not run when the client leaves before. */
function speak(socket: Socket, answer: Answer, behaviour: Behaviour, onEnd: () => void): void {
  const hasLoneHead = answer[0]?.clockOffsets.length === 0
  const say = (index: number) => {
    const template = answer[index]
    if (template === undefined) {
      onEnd()
      return
    }
    if (socket.destroyed) return
    write(socket, template)
    const waitMs = index === 0 && hasLoneHead ? behaviour.firstMs : behaviour.intervalMs
    if (index === answer.length - 1) onEnd()
    else setTimeout(say, waitMs, index + 1)
  }
  if (behaviour.delayMs === 0) say(0)
  else setTimeout(say, behaviour.delayMs, 0)
}

function serve(socket: Socket): void {
  const answer = ({ method, path }: RequestHead, body: Buffer) => {
    const isChat = method === 'POST' && (path === '/v1/chat/completions' || path === '/api/chat')
    if (!isChat) {
      write(socket, FIXED[`${method} ${path}`] ?? NOT_FOUND)
      reader.next()
      return
    }
    const behaviour = readBehaviour(body)
    speak(socket, findAnswer(path, body, behaviour), behaviour, reader.next)
  }
  const reader = createRequestReader(answer)
  socket.setNoDelay(true)
  socket.on('data', reader.read)
  // A gateway that leaves in the middle is its own business.
  socket.on('error', () => socket.destroy())
}

const server = createServer(serve)
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => process.send?.(server.address()))
process.on('disconnect', () => process.exit())
