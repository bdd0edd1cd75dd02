/** Stands between the sidecar and a server and does what networks do: goes silent, gets slow, breaks at the worst moment. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export type Fault =
  /** Bytes pass. */
  | { kind: 'none' }
  /** Connections stay and open, and no byte passes in either direction; nobody is told. */
  | { kind: 'blackhole' }
  /** Each piece waits before it passes on. */
  | { kind: 'slow'; ms: number }
  /** The connection breaks with the first answer to a piece that holds these words: what was asked for was done. */
  | { kind: 'cut-answer'; to: string }

export interface FaultProxy {
  port: number
  set(fault: Fault): void
  /** How often an answer was cut. */
  cuts(): number
  close(): Promise<void>
}

export async function openFaultProxy(targetPort: number): Promise<FaultProxy> {
  let fault: Fault = { kind: 'none' }
  let cuts = 0
  const sockets = new Set<Socket>()
  /** What was held back; passed on when the network heals, as TCP would send it again. */
  let held: (() => void)[] = []

  function pass(bytes: Buffer, to: Socket): void {
    const write = () => {
      if (!to.destroyed) to.write(bytes)
    }
    if (fault.kind === 'blackhole') held.push(write)
    else if (fault.kind === 'slow') setTimeout(write, fault.ms)
    else write()
  }

  const server = createServer((client) => {
    const upstream = connect(targetPort, '127.0.0.1')
    let isDoomed = false
    const end = () => {
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', end)
      socket.on('close', () => {
        sockets.delete(socket)
        // In a black hole nobody hears of it.
        if (fault.kind !== 'blackhole') end()
      })
    }
    client.on('data', (bytes) => {
      if (fault.kind === 'cut-answer' && bytes.includes(fault.to)) isDoomed = true
      pass(bytes, upstream)
    })
    upstream.on('data', (bytes) => {
      if (!isDoomed) {
        pass(bytes, client)
        return
      }
      cuts += 1
      end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    set(next) {
      fault = next
      if (next.kind === 'blackhole') return
      const waiting = held
      held = []
      for (const write of waiting) write()
    },
    cuts: () => cuts,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
