/** Row 15: what happened is told at least once, whatever the receiver does and whenever we die. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'

import { Webhook as StandardWebhook } from 'standardwebhooks'
import { expect } from 'vitest'

import { createId } from '#base/ids.ts'
import { createLog } from '#base/log.ts'
import { createVault } from '#base/vault.ts'
import { createGuard } from '#outgoing/guard.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'
import { openWebhooks, type Webhooks } from '#webhooks/webhooks.ts'

import { isLong, reliabilityTest } from '../support/reliability.ts'

const EVENTS = isLong ? 200 : 20
const vault = createVault(['a secret of more than thirty-two characters'])
const silent = createLog('silent')

interface Receiver {
  host: string
  /** Ids of the messages that were accepted, in the order of their arrival. */
  accepted: string[]
  tries: number
  faults: string[]
  close(): Promise<void>
}

/** Breaks four times of five: errors, hangs, closed sockets, redirects; accepts what it has checked by the public library. */
async function openReceiver(secret: () => string, isHostile = true): Promise<Receiver> {
  const receiver = { accepted: [] as string[], tries: 0, faults: [] as string[] }
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await text(request)
    receiver.tries += 1
    const verdict = isHostile ? receiver.tries % 5 : 0
    if (verdict === 1) return response.writeHead(500).end('no')
    if (verdict === 2) return response.destroy()
    if (verdict === 3) return response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()
    if (verdict === 4) return undefined // never
    try {
      new StandardWebhook(secret()).verify(body, request.headers as Record<string, string>)
      receiver.accepted.push(String(request.headers['webhook-id']))
    } catch (error) {
      receiver.faults.push(String(error))
    }
    return response.writeHead(204).end()
  }
  const server = createServer((request, response) => void answer(request, response))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(receiver, {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

const publish = (store: Store, number: number) => {
  const atMs = Date.now()
  const id = createId(atMs)
  const event = { id, atMs, actor: 'test', action: 'publish', target: `character-${String(number)}` }
  return store.db
    .insert(store.t.auditEvents)
    .values({ ...event, detail: { to: 1 } })
    .then(() => `audit_${id}`)
}

async function until(isSo: () => boolean | Promise<boolean>, withinMs: number): Promise<void> {
  const endMs = performance.now() + withinMs
  while (!(await isSo())) {
    if (performance.now() > endMs) throw new Error('It did not come to be in time')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

reliabilityTest(
  15,
  'webhook-at-least-once: a receiver that fails four times of five has every event, also over restarts and two processes',
  async (tally) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'troupe-webhooks-'))
    let secret = ''
    const receiver = await openReceiver(() => secret)
    const guard = createGuard({ trusted: [receiver.host], timeoutMs: 150 })
    const url = `file:${path.join(folder, 'troupe.sqlite')}`
    const parts = { vault, guard, log: silent, now: Date.now, waitsMs: Array.from({ length: 40 }, () => 30) }
    const stores: Store[] = []
    const open = async (): Promise<Webhooks> => {
      const store = await openStore(url)
      stores.push(store)
      return openWebhooks({ ...parts, store })
    }
    const one = await open()
    let two = await open()
    secret = (
      await one.create({ name: 'test', url: `http://${receiver.host}/hook`, events: [], actor: 'test' })
    ).secret
    const [store] = stores
    if (store === undefined) throw new Error('No store')
    const happened: string[] = []
    for (let number = 0; number < EVENTS; number++) {
      happened.push(await publish(store, number))
      one.wake()
      two.wake()
      // In the middle one of the two stops, and another takes its place.
      if (number === EVENTS / 2) {
        await two.close()
        two = await open()
      }
    }
    const waking = setInterval(() => {
      one.wake()
      two.wake()
    }, 10)
    await until(() => new Set(receiver.accepted).size === EVENTS, 60_000)
    clearInterval(waking)
    await Promise.all([one.close(), two.close()])
    const accepted = new Set(receiver.accepted)
    tally.counters.lost = happened.filter((id) => !accepted.has(id)).length
    tally.counters.in = receiver.accepted.filter((id) => !happened.includes(id)).length
    Object.assign(tally.figures, {
      events: EVENTS,
      tries: receiver.tries,
      accepted: receiver.accepted.length,
    })
    expect(receiver.faults).toEqual([])
    await Promise.all([guard.close(), receiver.close(), ...stores.map((opened) => opened.close())])
    await rm(folder, { recursive: true, force: true })
  },
)

reliabilityTest(
  15,
  'webhook-at-least-once: a dead letter after eight tries, which can be sent again',
  async (tally) => {
    let isDown = true
    const broken = createServer((_, answer) => answer.writeHead(isDown ? 503 : 200).end())
    broken.listen(0, '127.0.0.1')
    await once(broken, 'listening')
    const host = `127.0.0.1:${String((broken.address() as AddressInfo).port)}`
    const guard = createGuard({ trusted: [host] })
    const store = await openStore('file::memory:')
    // A clock that is put forward: the real waits add up to a day.
    let nowMs = 1_795_000_000_000
    const webhooks = openWebhooks({ store, vault, guard, log: silent, now: () => nowMs })
    const { id } = await webhooks.create({ name: 't', url: `http://${host}/`, events: [], actor: 'test' })
    const { messageId } = await webhooks.test(id)
    const state = async () => (await webhooks.deliveries(id, {}))[0]
    for (let tries = 1; tries <= 8; tries++) {
      // While a try runs, the next one is a minute away: the time after which another process would take it over.
      const isOver = async () => {
        const seen = await state()
        return seen?.attempts === tries && seen.lastStatus === 503 && seen.nextAtMs !== nowMs + 60_000
      }
      await until(isOver, 5_000)
      nowMs += 2 * 86_400_000
      webhooks.wake()
    }
    await until(async () => (await state())?.state === 'dead', 5_000)
    expect(await state()).toMatchObject({ messageId, attempts: 8, nextAtMs: null, lastError: 'Answered 503' })
    isDown = false
    await webhooks.resend(id, messageId)
    await until(async () => (await state())?.state === 'delivered', 5_000)
    tally.figures['tries before it is a dead letter'] = 8
    await webhooks.close()
    await guard.close()
    await store.close()
    broken.close()
  },
)

reliabilityTest(
  15,
  'webhook-at-least-once: addresses and secrets are not readable in the database',
  async (tally) => {
    const guard = createGuard({ trusted: ['hooks.internal'] })
    const store = await openStore('file::memory:')
    const webhooks = openWebhooks({ store, vault, guard, log: silent, now: Date.now })
    const wish = { name: 'x', events: [], actor: 'test' }
    const { secret } = await webhooks.create({ ...wish, url: 'https://hooks.internal/t?token=very-secret' })
    const raw = JSON.stringify(await store.db.select().from(store.t.webhooks))
    for (const word of [secret, secret.slice(6), 'very-secret', 'hooks.internal'])
      if (raw.includes(word)) tally.counters.leaked += 1
    expect((await webhooks.list())[0]?.url).toBe('https://hooks.internal/t')
    await expect(webhooks.create({ ...wish, url: 'https://127.0.0.1/' })).rejects.toThrow(
      /private or special/,
    )
    await webhooks.close()
    await guard.close()
    await store.close()
  },
)
