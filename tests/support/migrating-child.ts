/**
 * A process that opens stores when it is told to, each with the answer whether it could; or that ends itself the hard way just
 * before one statement. Started by tests/reliability/migration-crash.test.ts.
 */
import Database from 'better-sqlite3'
import pg from 'pg'

import { openStore } from '../../sidecar/src/store/open.ts'

export interface Job {
  url: string
  /** A statement of a migration: those before it have run, in the same transaction. */
  diesBefore?: string
}

let last: string | undefined

function dieBefore(query: unknown): void {
  const text = typeof query === 'object' && query !== null && 'text' in query ? query.text : query
  if (last !== undefined && text === last) process.kill(process.pid, 'SIGKILL')
}

const watched = (method: 'exec' | 'query', prototype: object) => {
  const original = Reflect.get(prototype, method) as (...args: unknown[]) => unknown
  Reflect.set(prototype, method, function (this: unknown, ...args: unknown[]) {
    dieBefore(args[0])
    return original.apply(this, args)
  })
}
watched('exec', Database.prototype)
watched('query', pg.Client.prototype)

process.on('message', ({ url, diesBefore }: Job) => {
  last = diesBefore
  openStore(url)
    .then((store) => store.close())
    .then(
      () => process.send?.('opened'),
      (error: unknown) => process.send?.(String(error)),
    )
})
process.send?.('ready')
