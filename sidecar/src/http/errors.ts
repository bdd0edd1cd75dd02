/** The only file that knows status numbers. */
import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'

import { toAppError, type AppError, type ErrorCode } from '#base/errors.ts'

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
  cancelled: { status: 499 as ContentfulStatusCode, type: 'api_error', code: 'cancelled' },
  internal: { status: 500, type: 'api_error', code: 'internal_error' },
  upstream: { status: 502, type: 'api_error', code: 'upstream_error' },
  unavailable: { status: 503, type: 'overloaded_error', code: 'unavailable' },
  upstream_timeout: { status: 504, type: 'api_error', code: 'upstream_timeout' },
}

export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null }
}

export function errorBody(error: AppError): ErrorBody {
  const { type, code } = SHOWN[error.code]
  return { error: { message: error.message, type, param: error.param ?? null, code } }
}

const statusOf = (error: AppError): ContentfulStatusCode => SHOWN[error.code].status

/** The answer to anything thrown; what we do not know is shown as nothing. */
export function errorAnswer(c: Context, thrown: unknown): Response {
  const error = toAppError(thrown)
  const retryAfter = error.facts['retryAfterSeconds']
  if (retryAfter !== undefined) c.header('retry-after', String(retryAfter))
  const { openWebUiUrl } = error.facts
  return c.json(
    { ...errorBody(error), ...(openWebUiUrl === undefined ? {} : { openWebUiUrl }) },
    statusOf(error),
  )
}
