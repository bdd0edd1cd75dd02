/** Roles of people, beside those that Open WebUI gives them. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Principal } from '#gateway/keys.ts'
import { reaches, ROLES, type Role, type Roles } from '#gateway/roles.ts'

import type { NoteAction } from '../audited.ts'
import { readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const Give = z.strictObject({ role: z.enum(ROLES) })

export const roleOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'People with a role beside that of Open WebUI', may: 'admin' },
  {
    method: 'put',
    path: '/:person',
    summary: 'Gives a role to a person, by their id in Open WebUI; admins and owners are named by owners',
    may: 'admin',
    body: Give,
  },
  { method: 'delete', path: '/:person', summary: 'Takes the role of a person', may: 'admin', status: 204 },
]

export interface RoleParts {
  roles: Roles
  noteAction: NoteAction
}

export function roleRoutes({ roles, noteAction }: RoleParts) {
  const refuseAbove = async (by: Principal, personId: string, role: Role) => {
    const held = (await roles.list()).find((given) => given.personId === personId)?.role
    const highest = [role, held].some((one) => reaches(one, 'admin')) ? 'owner' : 'admin'
    if (!reaches(by.role, highest))
      throw new AppError('forbidden', 'Only an owner names admins and owners, or takes their role')
  }
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ roles: await roles.list() }))
    .put('/:person', async (c) => {
      const { principal } = c.var
      const personId = c.req.param('person')
      const { role } = await readJson(Give, c.env.incoming)
      await refuseAbove(principal, personId, role)
      const given = await roles.give(personId, role, principal.name)
      await noteAction({ actor: principal.name, action: 'role_give', target: personId, detail: { role } })
      return c.json(given)
    })
    .delete('/:person', async (c) => {
      const { principal } = c.var
      const personId = c.req.param('person')
      await refuseAbove(principal, personId, 'viewer')
      if (!(await roles.take(personId)))
        throw new AppError(
          'not_found',
          'This person has no role of ours; admins of Open WebUI are named there',
        )
      await noteAction({ actor: principal.name, action: 'role_take', target: personId })
      return c.body(null, 204)
    })
}
