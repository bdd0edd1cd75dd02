/** Reading a JSON body once, straight from the socket, with a limit. */
import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { isDeeperThan } from '#base/json-depth.ts'

/** Chat bodies carry pictures as data URLs: a few photographs of a telephone. */
export const CHAT_BODY_BYTES = 20 * 1024 * 1024

/** Nesting that no client needs and every recursive walker can survive. */
const DEEPEST = 64

/** Whoever sends nothing for so long does not mean to. */
const SILENCE_MS = 30_000

/**
 * Reads the whole body. Throws AppError `too_large` as soon as the limit is passed and `invalid` when nothing more comes; the
 * rest is not read.
 */
export function readBytes(
  incoming: IncomingMessage,
  limitBytes: number,
  silenceMs = SILENCE_MS,
): Promise<Buffer> {
  const announced = Number(incoming.headers['content-length'] ?? 0)
  if (announced > limitBytes) return Promise.reject(tooLarge(limitBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let sizeBytes = 0
    const silence = setTimeout(() => leave(silent(silenceMs)), silenceMs)
    const leave = (error: Error) => {
      clearTimeout(silence)
      incoming.off('data', take).off('end', finish).pause()
      reject(error)
    }
    const take = (chunk: Buffer) => {
      silence.refresh()
      sizeBytes += chunk.length
      chunks.push(chunk)
      if (sizeBytes > limitBytes) leave(tooLarge(limitBytes))
    }
    const finish = () => {
      clearTimeout(silence)
      incoming.off('close', lose)
      resolve(chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks))
    }
    const lose = () => {
      leave(new AppError('cancelled', 'The client left before its request was whole'))
    }
    incoming.on('data', take).once('end', finish).once('close', lose).once('error', lose)
  })
}

/** A minute of 10 Mbit/s is 75 MB; whoever goes on sending does not mean to be answered. */
const UNWANTED_MS = 60_000

/**
 * Reads what is left of a body once it is answered: a client whose connection is closed while it sends shows its people that,
 * and not why it was refused.
 */
export function passOver(incoming: IncomingMessage, mostMs = UNWANTED_MS): void {
  if (incoming.complete || incoming.destroyed) return
  const late = setTimeout(() => incoming.socket.destroy(), mostMs)
  late.unref()
  incoming.once('close', () => clearTimeout(late))
  incoming.resume()
}

/** Parses JSON text. Throws AppError `invalid` for anything else, and for nesting deeper than 64 levels. */
export function parseJson(bytes: Buffer): unknown {
  const text = bytes.toString('utf8')
  if (isDeeperThan(DEEPEST, text))
    throw new AppError('invalid', `The request body is nested deeper than ${String(DEEPEST)} levels`)
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new AppError('invalid', 'The request body is not valid JSON', { cause })
  }
}

/** Reads a JSON body of the admin API; an empty one counts as `{}`. Throws AppError `invalid` that names the first wrong field. */
export async function readJson<T>(schema: z.ZodType<T>, incoming: IncomingMessage): Promise<T> {
  const bytes = await readBytes(incoming, CHAT_BODY_BYTES)
  return check(schema, bytes.length === 0 ? {} : parseJson(bytes))
}

/** Throws AppError `invalid` that names the first wrong field; `within` is the path of the value in the body. */
export function check<T>(schema: z.ZodType<T>, value: unknown, within?: string): T {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const path = [...(within === undefined ? [] : [within]), ...(issue?.path ?? [])]
  const param = path.join('.') || 'body'
  throw new AppError('invalid', `"${param}": ${issue?.message ?? 'is wrong'}`, { param })
}

const silent = (silenceMs: number) =>
  new AppError(
    'invalid',
    `The rest of the request body did not come within ${String(silenceMs / 1_000)} s; send the request again`,
  )

function tooLarge(limitBytes: number): AppError {
  const megabytes = Math.floor(limitBytes / 1024 / 1024)
  return new AppError(
    'too_large',
    `The request body is larger than ${String(megabytes)} MB; send less history or smaller pictures`,
  )
}

type WithoutGaps<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** What was not given is not there, rather than there as undefined. */
export function withoutGaps<T extends object>(value: T): WithoutGaps<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, field]) => field !== undefined),
  ) as WithoutGaps<T>
}
