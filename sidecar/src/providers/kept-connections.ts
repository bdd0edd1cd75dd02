/** Connections to one model server that stay open between calls; each serves one call at a time. */
import { Client } from 'undici'

/** Connections stay open this long without work; the server may ask for less. */
const KEEP_ALIVE_MS = 60_000

export interface KeptConnections {
  /** One without work; undefined if there is none. */
  idle(): Client | undefined
  open(): Client
  /** For a connection whose answer was read to its end. */
  keep(client: Client): void
  /** For every other one: closes it, and fails the call that may still run on it. */
  drop(client: Client, reason: Error): void
  /** Ends every call. */
  close(reason: Error): Promise<void>
}

/** Not undici's Pool: after every call that was cancelled that one connects anew, for nobody. */
export function keepConnections(origin: string, connectTimeoutMs: number): KeptConnections {
  const all = new Set<Client>()
  const idle: Client[] = []

  return {
    idle: () => idle.pop(),
    open() {
      const client = new Client(origin, {
        connect: { timeout: connectTimeoutMs },
        keepAliveTimeout: KEEP_ALIVE_MS,
        // The time limits of a call are its own business: undici's do not know a first token from the next.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      all.add(client)
      return client
    },
    keep: (client) => void idle.push(client),
    drop(client, reason) {
      all.delete(client)
      void client.destroy(reason)
    },
    async close(reason) {
      idle.length = 0
      await Promise.all([...all].map((client) => client.destroy(reason)))
      all.clear()
    },
  }
}
