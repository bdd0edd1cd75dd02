import pg from 'pg'
import { expect, test, vi } from 'vitest'

import { arrive } from '#store/arriving.postgres.ts'

const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })

function answered(code: string): pg.DatabaseError {
  const error = new pg.DatabaseError('as PostgreSQL says it', 1, 'error')
  error.code = code
  return error
}

const openPool = () => ({ isHeld: false })

test.each([
  ['nobody listens', refused],
  ['it is starting', answered('57P03')],
  ['others have all its connections', answered('53300')],
])(
  'while %s the start goes on, and nobody gets a connection before the tables are there',
  async (_, away) => {
    const pool = openPool()
    const migrate = vi.fn<() => Promise<void>>().mockRejectedValueOnce(away).mockResolvedValueOnce()
    await arrive(pool, migrate, new AbortController().signal)
    expect(pool.isHeld).toBe(true)
    await expect.poll(() => pool.isHeld, { timeout: 5_000 }).toBe(false)
    expect(migrate).toHaveBeenCalledTimes(2)
  },
)

test.each([
  ['a wrong password', '28P01'],
  ['a database that does not exist', '3D000'],
  ['no right to make tables', '42501'],
])('%s is told at the start', async (_, code) => {
  const { signal } = new AbortController()
  const arriving = arrive(openPool(), () => Promise.reject(answered(code)), signal)
  await expect(arriving).rejects.toMatchObject({ code })
})

test('a store that is closed while its server is away stops trying', async () => {
  const closing = new AbortController()
  const migrate = vi.fn<() => Promise<void>>().mockRejectedValue(refused)
  await arrive(openPool(), migrate, closing.signal)
  closing.abort()
  await new Promise((resolve) => setTimeout(resolve, 50))
  expect(migrate).toHaveBeenCalledOnce()
})
