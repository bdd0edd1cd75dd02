/** Row 33: an address that somebody entered must not lead into the house, whatever it is written as or resolves to. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createNetServer, type AddressInfo } from 'node:net'

import { afterAll, beforeAll, expect } from 'vitest'

import { createGuard, isPublicAddress, type Guard, type Resolve } from '#outgoing/guard.ts'
import { toAppError } from '#base/errors.ts'

import { reliabilityTest } from '../support/reliability.ts'

/** Counts who gets through to the house. */
const forbidden = createServer((_, answer) => answer.end('secret'))
let reached = 0
let port = 0

beforeAll(async () => {
  forbidden.on('connection', () => (reached += 1))
  // All interfaces, so that every spelling of "this machine" would arrive.
  forbidden.listen(0, '::')
  await once(forbidden, 'listening')
  port = (forbidden.address() as AddressInfo).port
})
afterAll(() => forbidden.close())

/** Names of a hostile zone; the rest does not exist. */
const ZONE: Readonly<Record<string, string[]>> = {
  localhost: ['127.0.0.1', '::1'],
  'localhost.': ['127.0.0.1'],
  'app.localhost': ['127.0.0.1'],
  'loop.example': ['127.0.0.1'],
  'loop6.example': ['::1'],
  'mapped.example': ['::ffff:127.0.0.1'],
  'zero.example': ['0.0.0.0'],
  'mixed.example': ['93.184.216.34', '127.0.0.1'],
  'mixed6.example': ['2606:2800:220:1::1', '::1'],
  'private10.example': ['10.0.0.5'],
  'private172.example': ['172.16.0.5'],
  'private192.example': ['192.168.1.5'],
  'metadata.example': ['169.254.169.254'],
  'metadata.google.internal': ['169.254.169.254'],
  'cgnat.example': ['100.100.100.200'],
  'nat64.example': ['64:ff9b::7f00:1'],
  'sixtofour.example': ['2002:7f00:1::1'],
  'teredo.example': ['2001::1'],
  'unique.example': ['fd00::1'],
  'link.example': ['fe80::1'],
  'translated.example': ['::ffff:0:127.0.0.1'],
  'empty.example': [],
}

const resolve: Resolve = (host, _options, answer) => {
  const addresses = ZONE[host]
  if (addresses === undefined) answer(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }), [])
  else
    answer(
      null,
      addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )
}

/** Hosts as an attacker writes them; each is tried with and without the port of the listener. */
const HOSTS = [
  '127.0.0.1', '127.1', '127.0.1', '127.0.0.1.', '127.255.255.254', '2130706433', '017700000001', '0x7f000001',
  '0x7f.1', '0x7f.0.0.1', '0177.0.0.1', '0177.0.0.01', '127.0x0.0.1', '127.000.000.001', '0', '0.0.0.0', '0x0',
  '００７.1', '①②⑦.⓪.⓪.①', '127。0。0。1', '127．0．0．1', '%31%32%37.0.0.1', '[::1]', '[::]', '[0:0:0:0:0:0:0:1]',
  '[::ffff:127.0.0.1]', '[::ffff:7f00:1]', '[::127.0.0.1]', '[0:0:0:0:0:ffff:127.0.0.1]', '[64:ff9b::127.0.0.1]',
  '[2002:7f00:1::]', '[fe80::1]', '[fd00::1]', '[ff02::1]', '10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.0.1',
  '169.254.169.254', '0xa9fea9fe', '2852039166', '[::ffff:169.254.169.254]', '100.100.100.200', '192.0.0.1', '198.18.0.1',
  '224.0.0.1', '240.0.0.1', '255.255.255.255', 'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ', 'LOCALHOST',
  ...Object.keys(ZONE),
] // prettier-ignore

function urls(): string[] {
  const plain = HOSTS.flatMap((host) => [`https://${host}/`, `https://${host}:${String(port)}/`])
  const tricks = [
    `http://127.0.0.1:${String(port)}/`,
    `http://localhost:${String(port)}/`,
    `https://user:pass@loop.example/`,
    `https://hooks.example@127.0.0.1:${String(port)}/`,
    `https://127.0.0.1:${String(port)}#@hooks.example/`,
    `https://127.0.0.1:${String(port)}\\@hooks.example/`,
    `https:127.0.0.1:${String(port)}`,
    `https:///127.0.0.1:${String(port)}/`,
    `https:\\\\127.0.0.1:${String(port)}\\`,
    `\thttps://127.0.0.1:${String(port)}/`,
    `https://127.0.0.1\t:${String(port)}/`,
    `ftp://127.0.0.1:${String(port)}/`,
    `file:///etc/passwd`,
    `gopher://127.0.0.1:${String(port)}/_GET`,
    `data:text/plain,hello`,
    `javascript:alert(1)`,
    `unix:/var/run/docker.sock`,
    `//127.0.0.1:${String(port)}/`,
    `127.0.0.1:${String(port)}`,
    ``,
  ]
  return [...plain, ...tricks]
}

/** What the guard said to each. A connection would show at the listener. */
async function tryAll(guard: Guard, addresses: readonly string[]): Promise<string[]> {
  const said: string[] = []
  for (const address of addresses) {
    const outcome = await guard.post(address, {}, '{}').then(
      ({ status }) => `answered ${String(status)}`,
      (thrown: unknown) => toAppError(thrown).code,
    )
    said.push(outcome)
  }
  return said
}

reliabilityTest(33, 'ssrf-hundred: hostile addresses reach nothing inside', async (tally) => {
  const guard = createGuard({ trusted: [], resolve, timeoutMs: 1_000 })
  const addresses = urls()
  const said = await tryAll(guard, addresses)
  await guard.close()
  tally.counters.in += reached
  Object.assign(tally.figures, { 'hostile URLs': addresses.length, 'connections inside': reached })
  expect(addresses.length).toBeGreaterThan(100)
  expect(addresses.filter((_, at) => said[at]?.startsWith('answered'))).toEqual([])
  expect(addresses.filter((_, at) => said[at] !== 'invalid' && said[at] !== 'upstream')).toEqual([])
  expect(['8.8.8.8', '2606:4700::1111', '93.184.216.34'].every(isPublicAddress)).toBe(true)
})

reliabilityTest(33, 'ssrf-hundred: a name that changes its address between two looks', async (tally) => {
  // Of the loopback addresses one plays the world outside, so that the test needs no network.
  const outside = createNetServer((socket) => socket.destroy())
  outside.listen(0, '127.0.0.2')
  await once(outside, 'listening')
  let visits = 0
  outside.on('connection', () => (visits += 1))
  let looks = 0
  const rebinding: Resolve = (_host, _options, answer) => {
    looks += 1
    answer(null, [{ address: looks % 2 === 1 ? '127.0.0.2' : '127.0.0.1', family: 4 }])
  }
  const before = reached
  const isPublic = (address: string) => address === '127.0.0.2'
  const guard = createGuard({ trusted: [], resolve: rebinding, isPublic, timeoutMs: 1_000 })
  const said = await tryAll(
    guard,
    Array.from({ length: 20 }, (_, at) => `https://rebind${String(at)}.example/`),
  )
  await guard.close()
  outside.close()
  tally.counters.in += reached - before
  tally.figures['looks at the name for each connection'] = looks / 20
  // Every other answer was the forbidden one: refused, and not asked for again until it is better.
  expect(said.filter((word) => word === 'invalid')).toHaveLength(10)
  expect(looks).toBe(20)
})

reliabilityTest(
  33,
  'ssrf-hundred: redirects are not followed, slow and endless answers are cut',
  async (tally) => {
    const before = reached
    const hostile = createServer((request, answer) => {
      if (request.url === '/redirect') {
        answer.writeHead(307, { location: `http://127.0.0.1:${String(port)}/` }).end()
        return
      }
      answer.writeHead(200)
      const write = () => answer.write(request.url === '/slow' ? 'x' : Buffer.alloc(65_536))
      const dripping = setInterval(write, 20)
      answer.once('close', () => clearInterval(dripping))
    })
    hostile.listen(0, '127.0.0.1')
    await once(hostile, 'listening')
    const host = `127.0.0.1:${String((hostile.address() as AddressInfo).port)}`
    const guard = createGuard({ trusted: [host], timeoutMs: 2_000 })
    const startedAtMs = performance.now()
    expect(await guard.post(`http://${host}/redirect`, {}, '{}')).toEqual({ status: 307 })
    expect(await guard.post(`http://${host}/endless`, {}, '{}')).toEqual({ status: 200 })
    expect(await guard.post(`http://${host}/slow`, {}, '{}')).toEqual({ status: 200 })
    tally.figures['ms for three hostile answers'] = Math.round(performance.now() - startedAtMs)
    expect(performance.now() - startedAtMs).toBeLessThan(10_000)
    await guard.close()
    hostile.closeAllConnections()
    hostile.close()
    tally.counters.in += reached - before
  },
)
