/**
 * One call to Open WebUI: its limits in time and size, and what a failure of it means. Never logs: an answer may carry a
 * token or a key, and an error text may quote what was sent.
 */
import { Agent, request } from 'undici'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

const CONNECT_MS = 3_000

/** Listing models makes Open WebUI ask each of its model servers, us included, and wait for up to 10 s. */
const CALL_MS = 30_000

/** More questions at once wait here instead of at Open WebUI. */
const MAX_CONNECTIONS = 16

/** All rows come in one list, each with its picture: a thousand portraits of 256 px are some 30 MB. */
const MAX_ANSWER_BYTES = 128 * 1_048_576

/** Open WebUI quotes whole requests in some errors; a person needs the beginning. */
const MAX_DETAIL_CHARS = 200

export interface Call {
  path: string
  /** A session token or an API key. */
  token: string
  /** With a body the call is a POST. */
  body?: unknown
}

export interface Reply {
  status: number
  /** Parsed JSON; undefined when the answer is something else, as the page that stands at every unknown address is. */
  value: unknown
  /** What was called, for messages. */
  path: string
}

export interface Wire {
  /** Any status is an answer. Throws AppError `unavailable` when nothing answers, `upstream_timeout` when it takes too long. */
  ask(call: Call): Promise<Reply>
  /** Ends running calls. */
  close(): Promise<void>
}

/** The caller closes it. Connections without work close themselves after seconds and never keep the process alive. */
export function openWire(url: string, timeoutMs = CALL_MS): Wire {
  const agent = new Agent({
    connect: { timeout: CONNECT_MS },
    connections: MAX_CONNECTIONS,
    maxResponseSize: MAX_ANSWER_BYTES,
  })
  return {
    async ask({ path, token, body }) {
      const signal = AbortSignal.timeout(timeoutMs)
      try {
        const answer = await request(`${url}${path}`, {
          dispatcher: agent,
          method: body === undefined ? 'GET' : 'POST',
          headers: {
            accept: 'application/json',
            authorization: `Bearer ${token}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal,
        })
        return { status: answer.statusCode, value: parseJson(await answer.body.text()), path }
      } catch (cause) {
        throw signal.aborted ? tooSlow(url, timeoutMs, cause) : silent(url, cause)
      }
    },
    close: () => agent.destroy(),
  }
}

/** The value of a good answer. Throws AppError for a refusal, and `upstream` for an answer that is not what was expected. */
export function expectAnswer<T>(schema: z.ZodType<T>, reply: Reply): T {
  if (reply.status !== 200) throw refusal(reply)
  const parsed = schema.safeParse(reply.value)
  if (parsed.success) return parsed.data
  const where = parsed.error.issues[0]?.path.join('.')
  throw new AppError(
    'upstream',
    `Open WebUI's answer at ${pathOnly(reply)} was not understood${where ? ` ("${where}")` : ''}; ` +
      'check that OPENWEBUI_URL is the address of Open WebUI, version 0.12 or later',
    { facts: { path: pathOnly(reply) } },
  )
}

/** What an answer other than 200 means. */
export function refusal(reply: Reply): AppError {
  const { status } = reply
  const facts = { status, path: pathOnly(reply) }
  if (status === 401 || status === 403) {
    return new AppError(
      'upstream',
      `Open WebUI does not accept our key (${String(status)}); sign in there as an admin, make a new key under ` +
        'Settings > Account > API keys, and set OPENWEBUI_API_KEY to it',
      { facts },
    )
  }
  if (status >= 502 && status <= 504) {
    return new AppError(
      'unavailable',
      `The proxy before Open WebUI answers ${String(status)}; is it running?`,
      { facts: { ...facts, server: 'Open WebUI' } },
    )
  }
  const detail = detailOf(reply)
  const said = detail === '' ? '' : `: ${detail}`
  return new AppError('upstream', `Open WebUI refused ${facts.path} (${String(status)})${said}`, { facts })
}

/** Open WebUI says "not found" with 404 in some places and with 401 in others, where only the text tells it from a refused key. */
export function isMissing(reply: Reply): boolean {
  return reply.status === 404 || (reply.status === 401 && /could not find/i.test(detailOf(reply)))
}

const Fault = z.looseObject({ detail: z.unknown() })

function detailOf({ value }: Reply): string {
  const fault = Fault.safeParse(value)
  if (!fault.success) return ''
  const { detail } = fault.data
  const text = (typeof detail === 'string' ? detail : JSON.stringify(detail)).replaceAll(/\s+/g, ' ').trim()
  return text.length > MAX_DETAIL_CHARS ? `${text.slice(0, MAX_DETAIL_CHARS)}…` : text
}

/** Queries carry ids of people and characters, which are not for messages. */
const pathOnly = ({ path }: Reply): string => path.split('?')[0] ?? path

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // A page of HTML; whoever expects more will say so.
    return undefined
  }
}

const silent = (url: string, cause: unknown): AppError =>
  new AppError(
    'unavailable',
    `Open WebUI at ${new URL(url).origin} does not answer; start it, or check OPENWEBUI_URL`,
    { cause, facts: { server: 'Open WebUI' } },
  )

const tooSlow = (url: string, timeoutMs: number, cause: unknown): AppError =>
  new AppError(
    'upstream_timeout',
    `Open WebUI at ${new URL(url).origin} did not answer within ${String(timeoutMs / 1_000)} s; look at its log`,
    { cause, facts: { server: 'Open WebUI' } },
  )
