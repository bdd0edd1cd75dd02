/** A `/v1` server without a model, in the manner of llama.cpp: one window per model, whatever the request says. */
import { randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'

import {
  type Dialect,
  FAKE_MODEL,
  type FakeModel,
  fakeVector,
  type Figures,
  type FakeServer,
  type FakeServerOptions,
  openFakeServer,
  play,
  type ReceivedRequest,
  send,
  type Script,
  tokensOf,
} from './fake-server.ts'

export interface FakeOpenAi extends FakeServer {
  /** With `/v1`, as people configure it. */
  url: string
}

export interface FakeOpenAiOptions extends FakeServerOptions {
  /** Whose habits it has: how it lists models, and how it refuses a prompt that is too long. */
  manner?: 'llama.cpp' | 'vllm'
  /** Refuses every other key. */
  apiKey?: string
  /** Calls that wait at each of its models, as vLLM's figures tell. */
  waiting?: () => number
}

interface OpenAiMessage {
  content?: string | null | readonly { text?: string }[]
}

export async function openFakeOpenAi(options: FakeOpenAiOptions = {}): Promise<FakeOpenAi> {
  const models = options.models ?? [FAKE_MODEL]
  const manner = options.manner ?? 'llama.cpp'

  async function chat(
    request: ReceivedRequest,
    response: ServerResponse,
    next: () => Script,
  ): Promise<unknown> {
    const { body } = request
    const model = models.find(({ name }) => name === body.model)
    if (model === undefined) {
      return send(
        response,
        404,
        envelope(404, `The model \`${String(body.model)}\` does not exist.`, 'NotFoundError'),
      )
    }
    const isCompletion = body.prompt !== undefined
    const promptTokens = isCompletion
      ? tokensOf(String(body.prompt))
      : count(body.messages as OpenAiMessage[])
    if (promptTokens > model.contextTokens)
      return send(response, 400, overflow(manner, promptTokens, model.contextTokens))
    const format = body.response_format as { type: string; json_schema?: { schema: unknown } } | undefined
    const wish = {
      promptTokens,
      maxTokens: body.max_tokens as number | undefined,
      stop: [body.stop ?? []].flat() as string[],
      isWhole: body.stream !== true,
      schema: format?.type === 'json_object' ? {} : format?.json_schema?.schema,
    }
    const options = body.stream_options as { include_usage?: boolean } | undefined
    // llama.cpp promises to keep the connection, and ends it behind every stream.
    const { socket } = response
    if (manner === 'llama.cpp') response.on('finish', () => socket?.end())
    const tellsUsage = options?.include_usage === true
    await play(next(), wish, response, dialectOf(model.name, manner, tellsUsage, isCompletion))
  }

  function embed({ body }: ReceivedRequest, response: ServerResponse): ServerResponse {
    const texts = [body.input].flat() as string[]
    const model = models.find(({ name }) => name === body.model)
    if (model === undefined) return send(response, 404, envelope(404, 'The model does not exist.', 'x'))
    const tooLong = texts.find((text) => tokensOf(text) > model.contextTokens)
    if (tooLong !== undefined)
      return send(response, 400, overflow(manner, tokensOf(tooLong), model.contextTokens))
    const data = texts.map((text, index) => {
      return {
        object: 'embedding',
        index,
        embedding: fakeVector(text, body.dimensions as number | undefined),
      }
    })
    const tokens = texts.reduce((sum, text) => sum + tokensOf(text), 0)
    const usage = { prompt_tokens: tokens, total_tokens: tokens }
    return answer(response, { object: 'list', model: model.name, data, usage })
  }

  const server = await openFakeServer(options, (request, response, next) => {
    if (options.apiKey !== undefined && request.headers.authorization !== `Bearer ${options.apiKey}`) {
      return send(response, 401, envelope(401, 'Invalid API Key', 'authentication_error'))
    }
    switch (request.path) {
      case '/v1/models':
        return answer(response, {
          object: 'list',
          data: models.map((model) => listed(model.name, model.contextTokens, manner)),
        })
      case '/v1/chat/completions':
      case '/v1/completions':
        return chat(request, response, next)
      case '/v1/embeddings':
        return embed(request, response)
      case '/tokenize': {
        const text = manner === 'vllm' ? request.body.prompt : request.body.content
        const tokens = Array.from({ length: tokensOf(String(text)) }, (_, at) => at)
        return answer(response, manner === 'vllm' ? { count: tokens.length, tokens } : { tokens })
      }
      case '/metrics':
        if (manner !== 'vllm') break
        return send(response, 200, figures(models, options.waiting?.() ?? 0))
      case '/props':
        if (manner === 'vllm') break
        return answer(response, {
          default_generation_settings: { n_ctx: models[0]?.contextTokens },
          total_slots: 2,
        })
    }
    return send(response, 404, envelope(404, 'File Not Found', 'not_found_error'))
  })
  return { ...server, url: `${server.origin}/v1` }
}

function listed(id: string, contextTokens: number, manner: string): Record<string, unknown> {
  const row = { id, object: 'model', created: 1_767_225_600 }
  if (manner === 'vllm') return { ...row, owned_by: 'vllm', max_model_len: contextTokens }
  return { ...row, owned_by: 'llamacpp', meta: { n_ctx: contextTokens, n_ctx_train: contextTokens * 2 } }
}

/** In the form of vLLM 0.10: one line for each engine. */
const figures = (models: readonly FakeModel[], waiting: number): string =>
  models
    .map(({ name }) => `vllm:num_requests_waiting{engine="0",model_name="${name}"} ${waiting.toFixed(1)}\n`)
    .join('# HELP vllm:num_requests_waiting Number of requests waiting to be processed.\n')

function count(messages: readonly OpenAiMessage[]): number {
  const texts = messages.map(({ content }) =>
    typeof content === 'string' ? content : (content ?? []).map((part) => part.text ?? '').join(''),
  )
  return tokensOf(texts.join(''))
}

function overflow(manner: string, promptTokens: number, contextTokens: number): string {
  if (manner === 'vllm') {
    const message = `This model's maximum context length is ${contextTokens} tokens. However, your request has ${promptTokens} input tokens. Please reduce the length of the input messages.`
    return JSON.stringify({ error: { message, type: 'BadRequestError', param: null, code: 400 } })
  }
  const message = `request (${promptTokens} tokens) exceeds the available context size (${contextTokens} tokens), try increasing it`
  const error = {
    code: 400,
    message,
    type: 'exceed_context_size_error',
    n_prompt_tokens: promptTokens,
    n_ctx: contextTokens,
  }
  return JSON.stringify({ error })
}

const envelope = (code: number, message: string, type: string): string =>
  JSON.stringify({ error: { code, message, type } })

const answer = (response: ServerResponse, value: unknown): ServerResponse =>
  send(response, 200, JSON.stringify(value))

function dialectOf(model: string, manner: string, tellsUsage: boolean, isCompletion: boolean): Dialect {
  const id = `chatcmpl-${randomUUID()}`
  const event = (rest: Record<string, unknown>): string =>
    `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1_767_225_600, model, ...rest })}\n\n`
  const choice = (delta: Record<string, unknown>, finish: string | null = null): Record<string, unknown> => ({
    choices: [
      isCompletion
        ? { index: 0, text: delta.content ?? '', finish_reason: finish }
        : { index: 0, delta, finish_reason: finish },
    ],
  })
  const usageOf = ({ promptTokens, completionTokens, cachedTokens }: Figures) => ({
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  })
  const timings = manner === 'llama.cpp' ? { timings: { prompt_ms: 2, predicted_ms: 6 } } : {}
  return {
    contentType: 'text/event-stream',
    refusal: (status, error) => envelope(status, error, 'scripted'),
    text: (piece, isReasoning) =>
      event(choice(isReasoning ? { reasoning_content: piece } : { content: piece })),
    // In two pieces per call, as llama.cpp and vLLM do.
    tools: (calls) =>
      calls
        .flatMap((call, index) => {
          const opening = {
            index,
            id: `call_${randomUUID()}`,
            type: 'function',
            function: { name: call.name, arguments: '' },
          }
          return [opening, { index, function: { arguments: JSON.stringify(call.arguments) } }]
        })
        .map((piece) => event(choice({ tool_calls: [piece] })))
        .join(''),
    failure: (error) => `data: ${envelope(500, error, 'server_error')}\n\n`,
    end(figures) {
      const last = tellsUsage ? event({ choices: [], usage: usageOf(figures), ...timings }) : ''
      return `${event(choice({}, figures.reason))}${last}data: [DONE]\n\n`
    },
    whole({ text, reasoning, toolCalls }, figures) {
      const calls = toolCalls.map(({ name, arguments: values }) => {
        return {
          id: `call_${randomUUID()}`,
          type: 'function',
          function: { name, arguments: JSON.stringify(values) },
        }
      })
      const message = {
        role: 'assistant',
        content: text,
        ...(reasoning !== '' && { reasoning_content: reasoning }),
        ...(calls.length > 0 && { tool_calls: calls }),
      }
      const said = isCompletion ? { text } : { message }
      const choices = [{ index: 0, ...said, finish_reason: figures.reason }]
      const object = isCompletion ? 'text_completion' : 'chat.completion'
      return JSON.stringify({ id, object, model, choices, usage: usageOf(figures), ...timings })
    },
  }
}
