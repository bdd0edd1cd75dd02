/** What it means when a model server says no. Every server has its own envelope and its own words; this file reads them all. */
import { z } from 'zod'

import { AppError, type ErrorCode } from '#base/errors.ts'

/** How messages speak of a server. */
export interface ServerWords {
  /** Subject of a sentence, e.g. `Ollama`. */
  title: string
  /** Origin of the server, without credentials. */
  name: string
  /** What to do when nothing answers, e.g. `start it or set OLLAMA_BASE_URL`. */
  whenSilent: string
  /** What to do when the key is refused. */
  whenForbidden: string
  /** What to do when it does not have a model. */
  whenMissing: (model: string) => string
  /** What we prove ourselves with. A server that quotes a request in its refusal must not hand it on to who asks us. */
  secrets?: readonly string[]
}

export interface Refusal {
  message: string
  /** The prompt is longer than the window of the model. */
  isOverflow: boolean
  promptTokens?: number
  contextTokens?: number
}

/** Servers quote whole requests in some errors; a person needs the beginning. */
const MAX_MESSAGE_CHARS = 300

/** Ollama wraps the JSON of its engine into its own error string; more than this is nonsense. */
const MAX_NESTING = 4

/**
 * Words for "the prompt is too long", as seen or documented:
 * llama.cpp `request (12030 tokens) exceeds the available context size (4096 tokens), try increasing it` and `Context size has been exceeded`;
 * Ollama 0.17 `the input length exceeds the context length`, 0.33 `the prompt is longer than the context length currently available to the model`;
 * vLLM `This model's maximum context length is …`, `… is longer than the maximum model length of …`, `the model's context length is only …`;
 * LM Studio `Trying to keep the first … tokens …`, `… greater than the context length (n_keep: … >= n_ctx: …)`;
 * OpenAI `context_length_exceeded` (a code).
 */
const OVERFLOW =
  /exceed_context_size|context_length_exceeded|exceeds the (?:available )?context|context size has been exceeded|(?:longer|greater) than the context length|maximum context length|maximum model length|context length (?:is|of) only|\bn_keep\b.*\bn_ctx\b/i

const Fault = z.object({
  error: z.unknown().optional(),
  message: z.unknown().optional(),
  detail: z.unknown().optional(),
  type: z.unknown().optional(),
  code: z.unknown().optional(),
  n_prompt_tokens: z.number().optional().catch(undefined),
  n_ctx: z.number().optional().catch(undefined),
})

/** Reads the body of an error answer, or the value of an `error` field. */
export function readRefusal(body: unknown, depth = 0): Refusal {
  const inner = typeof body === 'string' ? parsed(body) : body
  const fault = Fault.safeParse(inner)
  if (depth >= MAX_NESTING || !fault.success)
    return inWords(typeof body === 'string' ? body : JSON.stringify(body ?? ''))
  const {
    error,
    message,
    detail,
    type,
    code,
    n_prompt_tokens: promptTokens,
    n_ctx: contextTokens,
  } = fault.data
  const nested = error ?? message ?? detail
  const told = nested === undefined ? inWords(JSON.stringify(inner)) : readRefusal(nested, depth + 1)
  return {
    ...told,
    isOverflow: told.isOverflow || OVERFLOW.test(`${String(type)} ${String(code)}`),
    ...(promptTokens !== undefined && { promptTokens }),
    ...(contextTokens !== undefined && { contextTokens }),
  }
}

/** The JSON object inside a text, also behind a prefix; undefined if there is none. */
function parsed(text: string): unknown {
  const start = text.indexOf('{')
  if (start === -1) return undefined
  try {
    return JSON.parse(text.slice(start))
  } catch {
    return undefined // Plain words, or HTML of a proxy: read as they are.
  }
}

function inWords(text: string): Refusal {
  const message = text.replaceAll(/\s+/g, ' ').trim()
  const short = message.length > MAX_MESSAGE_CHARS ? `${message.slice(0, MAX_MESSAGE_CHARS)}…` : message
  return { message: short, isOverflow: OVERFLOW.test(message) }
}

/** Statuses that say more than "refused"; 429, 502 and 503 pass, so that another server may be tried. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  // What the client wants cannot be done: no other server would do it, and the client has to know why.
  400: 'invalid',
  422: 'invalid',
  408: 'upstream_timeout',
  413: 'too_large',
  429: 'unavailable',
  502: 'unavailable',
  503: 'unavailable',
  504: 'upstream_timeout',
}

/** The longest wait that a server may ask a client for. */
const MOST_RETRY_SECONDS = 3_600

/** The value of `Retry-After` in seconds; of a date, or of nonsense, nothing is told. */
function waitOf(retryAfter: string | undefined): { retryAfterSeconds?: number } {
  const seconds = Number(retryAfter?.trim() || Number.NaN)
  if (!(seconds > 0)) return {}
  return { retryAfterSeconds: Math.min(Math.ceil(seconds), MOST_RETRY_SECONDS) }
}

/**
 * An error answer in place of a stream. `facts.status` is the status that the server gave; `retryAfter` is its header of that
 * name, which `facts.retryAfterSeconds` hands on.
 */
export function refusalError(
  status: number,
  body: string,
  model: string,
  server: ServerWords,
  retryAfter?: string,
): AppError {
  const refusal = readRefusal(withoutSecrets(body, server))
  if (refusal.isOverflow) return overflowError(refusal, model)
  const at = `${server.title} at ${server.name}`
  const facts = { status, ...waitOf(retryAfter) }
  if (status === 404 && /model/i.test(refusal.message)) {
    return new AppError(
      'model_not_found',
      `${at} does not have the model "${model}"; ${server.whenMissing(model)}`,
      { facts, param: 'model' },
    )
  }
  if (status === 401 || status === 403) {
    return new AppError('upstream', `${at} does not accept our key (${status}); ${server.whenForbidden}`, {
      facts,
    })
  }
  const said = refusal.message === '' ? '' : `: ${refusal.message}`
  return new AppError(CODES[status] ?? 'upstream', `${at} refused the request (${status})${said}`, { facts })
}

/** An error that arrives inside a stream that began well. */
export function brokenError(error: unknown, model: string, server: ServerWords): AppError {
  const refusal = readRefusal(
    withoutSecrets(typeof error === 'string' ? error : JSON.stringify(error), server),
  )
  if (refusal.isOverflow) return overflowError(refusal, model)
  return new AppError(
    'upstream',
    `${server.title} at ${server.name} gave up in the middle of an answer: ${refusal.message}`,
  )
}

const withoutSecrets = (text: string, { secrets = [] }: ServerWords): string =>
  secrets.reduce((left, secret) => left.replaceAll(secret, '[our key]'), text)

function overflowError({ promptTokens, contextTokens }: Refusal, model: string): AppError {
  const tokens = (count: number | undefined) => (count === undefined ? '' : ` (${count} tokens)`)
  const message = `The prompt${tokens(promptTokens)} is longer than the context of the model "${model}"${tokens(contextTokens)}; shorten the conversation or raise the context`
  const facts = {
    ...(promptTokens !== undefined && { promptTokens }),
    ...(contextTokens !== undefined && { contextTokens }),
  }
  return new AppError('context_length', message, { facts, param: 'messages' })
}
