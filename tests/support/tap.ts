/**
 * A wire with a hand on it: stands between a client and any server, real or fake, and can slice, hold and cut what the
 * server says. It also sees when a connection is opened and closed, which no server tells.
 */
import { createServer, connect as connectTo, type AddressInfo, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

export interface Tap {
  /** The URL of the server, as seen through the tap. */
  url: string
  /** Connections accepted so far. */
  accepted(): number
  /** Connections open now. */
  open(): number
  /** `performance.now()` of the last connection that ended; undefined while none has. */
  lastClosedAtMs(): number | undefined
  /** All that clients have said, in the order in which it came. */
  heard(): string
  /** Lets through so many bytes of the server's next words, then holds the rest back for good. */
  holdAfter(bytes: number): void
  /** Lets through so many bytes of the server's next words, then breaks the connection on both sides. */
  cutAfter(bytes: number): void
  /** Hands the server's words on in pieces of this size. */
  slice(bytes: number): void
  /** Waits until no connection is open; throws after `withinMs`. */
  untilClosed(withinMs?: number): Promise<void>
  close(): Promise<void>
}

interface Fault {
  kind: 'hold' | 'cut'
  afterBytes: number
}

export async function openTap(target: string): Promise<Tap> {
  const to = new URL(target)
  const clients = new Set<Socket>()
  const held = new WeakSet<Socket>()
  let accepted = 0
  let closedAtMs: number | undefined
  let fault: Fault | undefined
  let sliceBytes = Number.POSITIVE_INFINITY
  let passed = 0
  const heard: Buffer[] = []

  function deliver(client: Socket, server: Socket, words: Buffer): void {
    if (fault === undefined) {
      write(client, words)
      return
    }
    const allowed = words.subarray(0, Math.max(0, fault.afterBytes - passed))
    passed += words.length
    if (allowed.length < words.length) held.add(client)
    write(client, allowed)
    if (fault.kind === 'cut' && passed > fault.afterBytes) {
      client.destroy()
      server.destroy()
    }
  }

  function write(client: Socket, words: Buffer): void {
    for (let start = 0; start < words.length; start += sliceBytes) {
      client.write(words.subarray(start, Math.min(words.length, start + sliceBytes)))
    }
  }

  const listener = createServer({ noDelay: true }, (client) => {
    accepted += 1
    clients.add(client)
    const server = connectTo({ host: to.hostname, port: Number(to.port), noDelay: true })
    client.on('data', (words: Buffer) => {
      heard.push(words)
      server.write(words)
    })
    server.on('data', (words: Buffer) => deliver(client, server, words))
    // Where words are held back, so is the end of them.
    server.on('end', () => held.has(client) || client.end())
    server.on('error', () => client.destroy())
    client.on('error', () => server.destroy())
    client.on('close', () => {
      closedAtMs = performance.now()
      clients.delete(client)
      server.destroy()
    })
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))

  const through = new URL(target)
  through.hostname = '127.0.0.1'
  through.port = String((listener.address() as AddressInfo).port)
  const arm = (next: Fault): void => {
    fault = next
    passed = 0
  }
  return {
    url: through.href.replace(/\/$/, ''),
    accepted: () => accepted,
    open: () => clients.size,
    lastClosedAtMs: () => closedAtMs,
    heard: () => Buffer.concat(heard).toString(),
    holdAfter: (afterBytes) => arm({ kind: 'hold', afterBytes }),
    cutAfter: (afterBytes) => arm({ kind: 'cut', afterBytes }),
    slice(bytes) {
      sliceBytes = bytes
    },
    async untilClosed(withinMs = 2_000) {
      const deadlineMs = performance.now() + withinMs
      while (clients.size > 0) {
        if (performance.now() > deadlineMs)
          throw new Error(`${clients.size} connections are still open after ${withinMs} ms`)
        await sleep(2)
      }
    },
    async close() {
      for (const client of clients) client.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}
