/** A real Redis for one test file: on a free port, in a temporary folder, gone afterwards. */
import { spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'

import { freePort } from './process.ts'

const PROGRAM = '/usr/bin/redis-server'

export const hasRedis = existsSync(PROGRAM)

export interface RedisServer {
  url: string
  port: number
  dir: string
  /** SIGSTOP: connections stay open and nothing answers. */
  freeze(): void
  thaw(): void
  /** SIGKILL. */
  kill(): Promise<void>
  /** Again on the same port, empty. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startRedis(): Promise<RedisServer> {
  const dir = await mkdtemp(path.join(tmpdir(), 'troupe-redis-'))
  const port = await freePort()
  let child = await start(port, dir)
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  return {
    url: `redis://127.0.0.1:${String(port)}`,
    port,
    dir,
    freeze() {
      child.kill('SIGSTOP')
    },
    thaw() {
      child.kill('SIGCONT')
    },
    kill,
    async restart() {
      await kill()
      child = await start(port, dir)
    },
    async stop() {
      await kill()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

async function start(port: number, dir: string): Promise<ChildProcess> {
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--save',
    '',
    '--appendonly',
    'no',
    '--dir',
    dir,
  ]
  const child = spawn(PROGRAM, [...args, '--maxmemory-policy', 'noeviction'], { stdio: 'ignore' })
  for (let tries = 0; !(await answers(port)); tries++) {
    if (child.exitCode !== null || tries > 400) throw new Error('redis-server did not start')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return child
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const say = (yes: boolean) => {
      socket.destroy()
      resolve(yes)
    }
    socket.once('connect', () => socket.write('PING\r\n'))
    socket.once('data', (data) => say(data.toString().startsWith('+PONG')))
    socket.once('error', () => say(false))
  })
}

/** The moments of all claims on windows, by Redis's own clock in microseconds, as its monitor tells them. Ends when asked for them. */
export async function watchGrants(url: string): Promise<() => Promise<number[]>> {
  const observer = new Redis(url)
  const monitor = await observer.monitor()
  const timesUs: number[] = []
  monitor.on('monitor', (_time: string, [command, key, score]: string[]) => {
    if (command?.toUpperCase() === 'ZADD' && key?.includes('running:') === false) timesUs.push(Number(score))
  })
  return async () => {
    const last = randomUUID()
    const isThrough = new Promise<void>((resolve) => {
      monitor.on('monitor', (_time: string, [, word]: string[]) => {
        if (word === last) resolve()
      })
    })
    await observer.echo(last)
    await isThrough
    monitor.disconnect()
    observer.disconnect()
    return timesUs
  }
}

/** Asks all the time; ends when it is asked for the longest that an answer took, in milliseconds. */
export async function watchAnswers(url: string): Promise<() => Promise<number>> {
  const observer = new Redis(url)
  const over = new AbortController()
  const watching = (async () => {
    let longestMs = 0
    while (!over.signal.aborted) {
      const startedAtMs = performance.now()
      await observer.ping()
      longestMs = Math.max(longestMs, performance.now() - startedAtMs)
      await sleep(5)
    }
    return longestMs
  })()
  await observer.ping()
  return async () => {
    over.abort()
    const longestMs = await watching
    observer.disconnect()
    return longestMs
  }
}

/** The most that any half-open stretch of `windowUs` holds. */
export function mostInWindow(timesUs: readonly number[], windowUs: number): number {
  let most = 0
  let from = 0
  timesUs.forEach((timeUs, at) => {
    while ((timesUs[from] ?? 0) <= timeUs - windowUs) from++
    most = Math.max(most, at - from + 1)
  })
  return most
}

/** As if somebody had flushed it while it runs. */
export async function emptyRedis(url: string): Promise<void> {
  const redis = new Redis(url)
  await redis.flushall()
  redis.disconnect()
}

/** Every key with what it holds, as text: for a search for what must not be there. */
export async function dumpRedis(url: string): Promise<string> {
  const redis = new Redis(url)
  const read: Record<string, (key: string) => Promise<unknown>> = {
    string: (key) => redis.get(key),
    zset: (key) => redis.zrange(key, '0', '-1'),
    hash: (key) => redis.hgetall(key),
    set: (key) => redis.smembers(key),
    list: (key) => redis.lrange(key, 0, -1),
  }
  const lines: string[] = []
  for await (const keys of redis.scanStream() as AsyncIterable<string[]>)
    for (const key of keys) {
      const kind = await redis.type(key)
      lines.push(`${key} ${JSON.stringify(await read[kind]?.(key))}`)
    }
  redis.disconnect()
  return lines.join('\n')
}
