import { call, json, REQUEST_MARK } from './calling.ts'
import { fields, text, webAddress } from './reading.ts'

const ROLES = ['viewer', 'editor', 'admin', 'owner'] as const

/** Each may all that the ones before it may. */
export type Role = (typeof ROLES)[number]

export const reaches = (role: Role, demanded: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(demanded)

export interface Visitor {
  name: string
  role: Role
  openWebUiUrl: string | null
}

/** Begins a session. Throws ApiError with status 401 when nobody is signed in at Open WebUI, 403 when the person has no role here. */
export async function beginSession(): Promise<Visitor> {
  const body = fields(await json(await call('/session', { method: 'POST', headers: REQUEST_MARK })))
  const user = fields(body['user'])
  return {
    name: text(user['name']),
    role: ROLES.find((role) => role === user['role']) ?? 'viewer',
    openWebUiUrl: webAddress(body['openWebUiUrl']),
  }
}
