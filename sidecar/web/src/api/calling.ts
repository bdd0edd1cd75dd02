/** How the pages ask the admin API, and what they hear when it refuses. */
import { fields, text, webAddress } from './reading.ts'

export const ROOT = `${import.meta.env.BASE_URL}api`

/** Sent with every change: a foreign site cannot add a header of its own without our consent. */
export const REQUEST_MARK = { 'x-troupe-request': '1' }

/** A list or a deletion that takes longer than this has stalled. Uploads have no such bound: they show their progress. */
const ANSWER_TIMEOUT_MS = 20_000

interface ErrorDetails {
  openWebUiUrl?: string | null
  /** The field of the body that is wrong, as a path with dots; empty where none is named. */
  param?: string
}

/** Anything but the wished answer. The message can be shown as it is; `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  readonly status: number
  readonly openWebUiUrl: string | null
  readonly param: string

  constructor(message: string, status: number, { openWebUiUrl = null, param = '' }: ErrorDetails = {}) {
    super(message)
    this.name = 'ApiError'
    this.status = status
    this.openWebUiUrl = openWebUiUrl
    this.param = param
  }
}

export const call = (path: string, init: RequestInit = {}, timeoutMs?: number): Promise<Response> =>
  callAt(ROOT + path, init, timeoutMs)

/** Of our own server, outside of the admin API. */
export async function callAt(
  address: string,
  init: RequestInit,
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<Response> {
  let response: Response
  try {
    response = await fetch(address, { ...init, signal: AbortSignal.timeout(timeoutMs) })
  } catch {
    // A browser does not tell a page why; that there was no answer is all there is to know.
    throw new ApiError('Troupe does not answer.', 0)
  }
  if (!response.ok) throw readError(parsed(await response.text()), response.status)
  return response
}

export const sent = (body: object): RequestInit => ({
  method: 'POST',
  headers: { ...REQUEST_MARK, 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

export async function json(response: Response): Promise<unknown> {
  const value = parsed(await response.text())
  if (value === undefined)
    throw new ApiError('Something else than Troupe answered at this address.', response.status)
  return value
}

export function readError(body: unknown, status: number): ApiError {
  const error = fields(fields(body)['error'])
  return new ApiError(text(error['message']) || `Troupe could not answer (status ${status}).`, status, {
    openWebUiUrl: webAddress(fields(body)['openWebUiUrl']),
    param: text(error['param']),
  })
}

export function parsed(body: string): unknown {
  try {
    return JSON.parse(body) as unknown
  } catch {
    return undefined // not JSON: a page of some proxy, which says nothing to us
  }
}
