/** The nginx that we ship, as the outer door: what it lets through of headers in which anybody could call himself somebody. */
import { createServer, request, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { hasNginx, startNginx } from '../support/nginx.ts'

/** Signed, or worth nothing without what is signed. */
const OF_OPEN_WEBUI = [
  'x-openwebui-user-jwt',
  'x-openwebui-chat-id',
  ...['task', 'chat-id', 'message-id', 'user-message-id', 'groups'].map((what) => `x-troupe-${what}`),
]
/** Nobody is believed them. */
const PLAIN = ['id', 'name', 'email', 'role'].map((what) => `x-openwebui-user-${what}`)
const NAMES = [...OF_OPEN_WEBUI, ...PLAIN, 'x-forwarded-user']

describe.skipIf(!hasNginx)('nginx (skipped where Debian has no nginx package installed)', () => {
  let seen: IncomingHttpHeaders = {}
  const sidecar = createServer((incoming, outgoing) => {
    seen = incoming.headers
    outgoing.end('{}')
  })
  let nginx: Awaited<ReturnType<typeof startNginx>>
  beforeAll(async () => {
    await new Promise<void>((resolve) => sidecar.listen(0, '127.0.0.1', resolve))
    nginx = await startNginx([`http://127.0.0.1:${String((sidecar.address() as AddressInfo).port)}`])
  })
  afterAll(async () => {
    await nginx.stop()
    sidecar.close()
  })

  /** Which of the headers arrive when they are sent from this address. */
  async function arriving(localAddress: string, path: string): Promise<string[]> {
    const headers = Object.fromEntries(
      [...NAMES, 'authorization', 'x-troupe-request'].map((name) => [name, 'x']),
    )
    await new Promise<void>((resolve, reject) => {
      const sent = request(new URL(path, nginx.url), { localAddress, headers }, (answer) => {
        answer.resume().once('end', resolve)
      })
      sent.once('error', reject).end()
    })
    expect(seen).toMatchObject({
      authorization: 'x',
      'x-troupe-request': 'x',
      'x-forwarded-for': localAddress,
    })
    return NAMES.filter((name) => seen[name] !== undefined)
  }

  test.each(['/v1/chat/completions', '/troupe/api/characters'])(
    'takes the headers of Open WebUI from where Open WebUI is, and from nobody else (%s)',
    async (path) => {
      expect(await arriving('127.0.0.1', path)).toEqual(OF_OPEN_WEBUI)
      expect(await arriving('127.0.0.2', path)).toEqual([])
    },
  )
})
