/** A real PostgreSQL for one test file: on a free port, in a temporary folder, gone afterwards. */
import { execFile } from 'node:child_process'
import { chown, cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import pg from 'pg'

import { freePort } from './process.ts'

const execute = promisify(execFile)
const DEBIAN = '/usr/lib/postgresql'

/** The folder of its programs, or undefined when no PostgreSQL is installed. */
export async function findPostgres(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN).catch(() => [])
  const newest = versions
    .map(Number)
    .filter(Number.isFinite)
    .sort((a, b) => b - a)[0]
  return newest === undefined ? undefined : path.join(DEBIAN, String(newest), 'bin')
}

/** initdb refuses root, so root lends its place to `nobody`. */
async function asOwner(command: string, args: readonly string[]): Promise<void> {
  const isRoot = process.getuid?.() === 0
  const [program, all] = isRoot ? ['runuser', ['-u', 'nobody', '--', command, ...args]] : [command, [...args]]
  await execute(program, all, { cwd: tmpdir() })
}

/**
 * `nobody` cannot look into root's home, where `scripts/setup/pgvector.mjs` puts its programs. Then a copy beside the data is used:
 * of the whole environment, because the libraries lie beside the package.
 */
async function reachable(bin: string, dir: string): Promise<string> {
  try {
    await asOwner(path.join(bin, 'initdb'), ['--version'])
    return bin
  } catch {
    // What is wrong besides, the next call will say.
    const environment = path.resolve(bin, '../../..')
    const copy = path.join(dir, 'server')
    await cp(environment, copy, { recursive: true, verbatimSymlinks: true })
    return path.join(copy, path.relative(environment, bin))
  }
}

export interface PostgresServer {
  url: string
  port: number
  /** Ends it as a power cut would; `restart` lets it recover. */
  crash(): Promise<void>
  restart(): Promise<void>
  /** A streaming replica of it. */
  startStandby(): Promise<Standby>
  /** Ends it and takes its data away. */
  stop(): Promise<void>
}

export interface Standby {
  url: string
  /** It goes on receiving, and shows nothing of it. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** It receives nothing more, as behind a broken wire. */
  cut(): Promise<void>
  stop(): Promise<void>
}

/** Starts a server (about 1.5 s). With `isDurable` it waits for its disk, as a real one does. */
export async function startPostgres(
  programs: string,
  { isDurable = false }: { isDurable?: boolean } = {},
): Promise<PostgresServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'troupe-postgres-'))
  if (process.getuid?.() === 0) {
    const { stdout } = await execute('id', ['-u', 'nobody'])
    await chown(dir, Number(stdout), -1)
  }
  const bin = await reachable(programs, dir)
  const data = path.join(dir, 'data')
  const port = await freePort()
  const settings = `-p ${String(port)} -k ${dir} -c listen_addresses=127.0.0.1 -c fsync=${isDurable ? 'on' : 'off'}`
  await asOwner(path.join(bin, 'initdb'), [
    '-D',
    data,
    '-A',
    'trust',
    '-U',
    'postgres',
    '--no-sync',
    '-E',
    'UTF8',
    '--locale=C.UTF-8',
  ])
  const control = path.join(bin, 'pg_ctl')
  const start = () =>
    asOwner(control, ['-D', data, '-w', '-l', path.join(dir, 'log'), '-o', settings, 'start'])
  const crash = () => asOwner(control, ['-D', data, '-m', 'immediate', '-w', 'stop'])
  await start()

  async function startStandby(): Promise<Standby> {
    const copy = path.join(dir, `standby-${String(await freePort())}`)
    await asOwner(path.join(bin, 'pg_basebackup'), [
      ...['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', '-D', copy],
      ...['-R', '-X', 'stream', '-c', 'fast', '--no-sync'],
    ])
    const standbyPort = await freePort()
    const own = settings.replace(`-p ${String(port)}`, `-p ${String(standbyPort)}`)
    await asOwner(control, ['-D', copy, '-w', '-l', path.join(dir, 'standby.log'), '-o', own, 'start'])
    const url = `postgres://postgres@127.0.0.1:${String(standbyPort)}/postgres`
    return {
      url,
      pause: () => tell(url, 'select pg_wal_replay_pause()'),
      resume: () => tell(url, 'select pg_wal_replay_resume()'),
      cut: () => tell(url, `alter system set primary_conninfo = ''`, 'select pg_reload_conf()'),
      stop: () => asOwner(control, ['-D', copy, '-m', 'immediate', '-w', 'stop']),
    }
  }

  return {
    url: `postgres://postgres@127.0.0.1:${String(port)}/postgres`,
    startStandby,
    port,
    crash,
    restart: start,
    async stop() {
      // One that is down already has nothing to stop.
      await crash().catch(() => undefined)
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Statements of an operator, one after the other. */
export async function tell(url: string, ...statements: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    for (const statement of statements) await client.query(statement)
  } finally {
    await client.end()
  }
}
