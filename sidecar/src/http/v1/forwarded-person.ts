/** For whom Open WebUI asks: the person whom its signed token names, and nobody else. */
import { AppError } from '#base/errors.ts'
import { plainPerson, verifyUserToken, type OpenWebUiHeaders } from '#openwebui/headers.ts'
import type { Person } from '#prompt/ask.ts'

import type { Caller } from './door.ts'

export interface ForwardParts {
  /** Secrets that may have signed Open WebUI's user token; empty when none is configured. */
  jwtSecrets: readonly string[]
  /** Development on this machine only: plain headers name the user. */
  trustsPlainHeaders: boolean
  now: () => number
}

/**
 * Open WebUI vouches for its user by a signed token; plain headers can be written by anybody and are refused. For a caller with
 * the scope `forward-user`. Undefined where nobody is named, which `isForHouse` allows: Open WebUI does some work for all.
 * Throws AppError `unauthenticated` for who is not proven, `invalid` for a header that came twice.
 */
export async function forwardedPerson(
  headers: OpenWebUiHeaders,
  caller: Caller,
  on: ForwardParts,
  { isForHouse = false } = {},
): Promise<Person | undefined> {
  if (headers.duplicated)
    throw suspicious(
      caller,
      'duplicated header',
      new AppError('invalid', 'An Open WebUI header was sent twice'),
    )
  const { userJwt, plainUser } = headers
  if (userJwt === undefined && on.trustsPlainHeaders) return plainPerson(caller.incoming.headers)
  if (on.jwtSecrets.length === 0 && !plainUser) return undefined
  if (isForHouse && userJwt === undefined && !plainUser) return undefined
  if (userJwt === undefined || on.jwtSecrets.length === 0)
    throw suspicious(caller, 'unproven user', unproven())
  try {
    const { id, name } = await verifyUserToken(userJwt, on.jwtSecrets, on.now())
    return name === undefined ? { id } : { id, name }
  } catch (error) {
    throw suspicious(caller, 'refused user token', error)
  }
}

const unproven = () =>
  new AppError(
    'unauthenticated',
    "The user is not proven: set Open WebUI's FORWARD_USER_INFO_HEADER_JWT_SECRET and our OPENWEBUI_JWT_SECRET to the same secret",
  )

/** For who watches the log: somebody tried to be somebody. */
function suspicious<T>({ logged }: Caller, event: string, error: T): T {
  logged['securityEvent'] = event
  return error
}
