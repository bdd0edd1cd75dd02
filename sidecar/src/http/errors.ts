/** The only file that knows status numbers. */
import type { ServerResponse } from 'node:http'

import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'

import { toAppError, type AppError, type ErrorCode } from '#base/errors.ts'

import { refusalHeaders } from './limit-headers.ts'

interface Shown {
  status: ContentfulStatusCode
  type: string
  code: string | null
}

/** Types and codes of the OpenAI API: clients branch on them. 499 is nginx's number for "the client left". */
const SHOWN: Readonly<Record<ErrorCode, Shown>> = {
  invalid: { status: 400, type: 'invalid_request_error', code: 'invalid_request' },
  context_length: { status: 400, type: 'invalid_request_error', code: 'context_length_exceeded' },
  unauthenticated: { status: 401, type: 'authentication_error', code: 'invalid_api_key' },
  forbidden: { status: 403, type: 'permission_error', code: 'forbidden' },
  not_found: { status: 404, type: 'invalid_request_error', code: 'not_found' },
  model_not_found: { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  conflict: { status: 409, type: 'invalid_request_error', code: 'conflict' },
  too_large: { status: 413, type: 'invalid_request_error', code: 'request_too_large' },
  limited: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  quota: { status: 429, type: 'insufficient_quota', code: 'insufficient_quota' },
  cancelled: { status: 499 as ContentfulStatusCode, type: 'api_error', code: 'cancelled' },
  internal: { status: 500, type: 'api_error', code: 'internal_error' },
  upstream: { status: 502, type: 'api_error', code: 'upstream_error' },
  unavailable: { status: 503, type: 'overloaded_error', code: 'unavailable' },
  upstream_timeout: { status: 504, type: 'api_error', code: 'upstream_timeout' },
}

export const httpStatusOf = (code: ErrorCode): number => SHOWN[code].status

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null }
}

export function errorBody(error: AppError): ErrorBody {
  const { type, code } = SHOWN[error.code]
  return { error: { message: error.message, type, param: error.param ?? null, code } }
}

interface ErrorAnswer {
  status: ContentfulStatusCode
  headers: Record<string, string>
  body: ErrorBody & { openWebUiUrl?: unknown }
}

/** The answer to anything thrown; what we do not know is shown as nothing. */
function answerTo(thrown: unknown): ErrorAnswer {
  const error = toAppError(thrown)
  const { openWebUiUrl } = error.facts
  return {
    status: SHOWN[error.code].status,
    headers: refusalHeaders(error),
    body: { ...errorBody(error), ...(openWebUiUrl === undefined ? {} : { openWebUiUrl }) },
  }
}

export function errorAnswer(c: Context, thrown: unknown): Response {
  const { status, headers, body } = answerTo(thrown)
  return c.json(body, status, headers)
}

/** As `errorAnswer`, for the routes before hono. */
export function writeError(outgoing: ServerResponse, thrown: unknown): void {
  const { status, headers, body } = answerTo(thrown)
  writeJson(outgoing, body, status, headers)
}

export function writeJson(
  outgoing: ServerResponse,
  value: unknown,
  status = 200,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify(value)
  outgoing.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    ...headers,
  })
  outgoing.end(body)
}
