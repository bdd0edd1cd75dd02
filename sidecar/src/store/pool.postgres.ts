/** A bounded set of connections to a PostgreSQL. Who finds none free, or a server that is silent, is told so soon. */
import pg from 'pg'

import { AppError } from '#base/errors.ts'

/** For a free connection, or a new one. */
const CONNECT_MS = 1_000

/** No statement of ours takes longer but for figures over years; a server that is silent for so long is gone. */
const ANSWER_MS = 30_000

/** Classes of SQLSTATE: the data does not fit, a constraint refuses it. */
const DATA_FAULT = /^2[23]/

export interface Pool extends pg.Pool {
  /** Nobody gets a connection: the tables are not up to date yet. */
  isHeld: boolean
  /**
   * Runs one statement. Throws AppError `unavailable` when no connection is free, the server does not answer or `withinMs`
   * is over, and `invalid` when the data itself is refused.
   */
  run(text: string, values: readonly unknown[], withinMs?: number): Promise<Record<string, unknown>[]>
}

type Connected = (
  error: Error | undefined,
  client?: pg.PoolClient,
  done?: (release?: unknown) => void,
) => void

/** Classes of SQLSTATE: the connection, too many of them, a server that starts or stops. */
const AWAY = /^(08|53|57)/

/** The server is not there or not well, other than one that refuses what it was asked. */
export function isAway(cause: unknown): boolean {
  if (cause instanceof pg.DatabaseError) return AWAY.test(cause.code ?? '')
  return !(cause instanceof TypeError)
}

/** An answer that does not come is told as such, whatever library asked. */
class OurClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super(config)
    // Of one that is in use nobody else listens, and a server that goes away would end the process; what it was asked fails by itself.
    this.on('error', () => undefined)
    const query = this.query.bind(this) as (...args: unknown[]) => unknown
    const asking = (...args: unknown[]): unknown => {
      const done: unknown = args.at(-1)
      if (typeof done === 'function')
        return query(...args.slice(0, -1), (error: unknown, result: unknown) => {
          ;(done as (error: unknown, result: unknown) => void)(error && toldAway(error), result)
        })
      const answer = query(...args)
      return answer instanceof Promise
        ? answer.catch((cause: unknown) => {
            throw toldAway(cause)
          })
        : answer
    }
    this.query = asking as typeof this.query
  }
}

const toldAway = (cause: unknown): unknown =>
  isAway(cause) && !(cause instanceof AppError)
    ? new AppError('unavailable', 'The PostgreSQL database does not answer; ask again in a moment', {
        cause,
        facts: { server: 'PostgreSQL', retryAfterSeconds: 1 },
      })
    : cause

class OurPool extends pg.Pool implements Pool {
  isHeld = false

  // Both forms of pg: pool.query() itself comes through here.
  override connect(): Promise<pg.PoolClient>
  override connect(done: Connected): void
  override connect(done?: Connected): Promise<pg.PoolClient> | undefined {
    if (this.isHeld) {
      if (done === undefined) return Promise.reject(noConnection(undefined))
      queueMicrotask(() => done(noConnection(undefined)))
      return undefined
    }
    if (done === undefined)
      return super.connect().catch((cause: unknown) => {
        throw noConnection(cause)
      })
    super.connect((error: Error | undefined, client, release) => {
      done(error && noConnection(error), client, release)
    })
    return undefined
  }

  async run(
    text: string,
    values: readonly unknown[],
    withinMs = ANSWER_MS,
  ): Promise<Record<string, unknown>[]> {
    // After the time is over, pg ends the connection with it.
    const query: pg.QueryConfig & { query_timeout: number } = {
      ...{ text, values: [...values], query_timeout: withinMs },
    }
    try {
      return (await this.query<Record<string, unknown>>(query)).rows
    } catch (thrown) {
      if (thrown instanceof AppError) throw thrown
      const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'unknown'
      throw DATA_FAULT.test(code)
        ? new AppError('invalid', 'PostgreSQL refuses this data', { cause: thrown, facts: { code } })
        : new AppError('unavailable', 'The PostgreSQL database refuses to answer', { cause: thrown })
    }
  }
}

/** The caller ends it. */
export function openPool(url: string, connections: number): Pool {
  const pool = new OurPool({
    connectionString: url,
    Client: OurClient,
    max: connections,
    connectionTimeoutMillis: CONNECT_MS,
    query_timeout: ANSWER_MS,
    keepAlive: true,
  })
  // A server that goes away breaks idle connections; the next query reports it, the process must not end.
  pool.on('error', () => undefined)
  return pool
}

const noConnection = (cause: unknown) =>
  new AppError(
    'unavailable',
    'No connection to the PostgreSQL database is free, or it does not answer; ask again in a moment',
    { cause, facts: { server: 'PostgreSQL', retryAfterSeconds: 1 } },
  )
