/** The sidecar's admin API as the command line uses it. */
import { rm, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { splitLines } from '#base/ndjson.ts'

import { fileFault, openToRead, openToWrite } from './files.ts'

export interface AdminApi {
  /** Sends and parses JSON. Throws AppError with the sidecar's own message. */
  call<T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Promise<T>
  upload<T>(path: string, file: { name: string; bytes: Uint8Array }, schema: z.ZodType<T>): Promise<T>
  /** Sends a file as it is, however large. */
  send<T>(method: string, path: string, file: string, schema: z.ZodType<T>): Promise<T>
  /** Into a file, however large. An answer that breaks off leaves no file. */
  downloadTo(path: string, file: string): Promise<{ sizeBytes: number; headers: Headers }>
  /** Sends JSON, and hands out the lines of an answer as they come. Throws also for a line that tells an error. */
  lines<T>(path: string, body: unknown, schema: z.ZodType<T>): AsyncGenerator<T, void, undefined>
  download(path: string): Promise<{ name: string; bytes: Uint8Array }>
}

/** Undefined for what is no JSON: a proxy, or another server. */
function toJson(text: string): unknown {
  try {
    return text === '' ? null : JSON.parse(text)
  } catch {
    return undefined
  }
}

const ErrorBody = z.looseObject({ error: z.looseObject({ message: z.string() }) })

export function openAdminApi({ url, key }: { url: string; key: string | undefined }): AdminApi {
  if (key === undefined) {
    throw new AppError(
      'unauthenticated',
      'Set TROUPE_ADMIN_KEY, or TROUPE_DATA_DIR to the data folder of ./scripts/up, whose secrets.json has it as "adminKey"',
    )
  }
  const headers = { authorization: `Bearer ${key}` }

  /** Node's own fetch: with the forms of the undici package an upload never ends on Node 24. */
  async function send(
    method: string,
    path: string,
    more: { headers?: Record<string, string>; body?: BodyInit },
  ): Promise<Response> {
    try {
      const init = { method, ...more, headers: { ...headers, ...more.headers }, duplex: 'half' }
      return await fetch(new URL(path, url), init)
    } catch (cause) {
      throw new AppError(
        'unavailable',
        `No sidecar answers at ${url}; start it with ./scripts/up, or set TROUPE_URL`,
        { cause },
      )
    }
  }

  async function read<T>(answer: Response, schema: z.ZodType<T>): Promise<T> {
    return understand(toJson(await answer.text()), schema, answer)
  }

  function understand<T>(value: unknown, schema: z.ZodType<T>, answer: Response): T {
    const result = schema.safeParse(value)
    if (answer.ok && result.success) return result.data
    const refusal = ErrorBody.safeParse(value)
    throw new AppError(
      'invalid',
      refusal.success
        ? refusal.data.error.message
        : `${url} answered ${String(answer.status)}, but not as this version of Troupe does; look at TROUPE_URL`,
    )
  }

  /** A sidecar that dies in the middle is told of in a sentence. */
  async function* unbroken(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    try {
      yield* body
    } catch (cause) {
      throw new AppError('unavailable', `${url} closed the connection in the middle of an answer`, { cause })
    }
  }

  return {
    async call(method, path, schema, body) {
      const json =
        body === undefined
          ? {}
          : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
      return read(await send(method, path, json), schema)
    },
    async upload(path, file, schema) {
      const body = new FormData()
      body.append('files', new Blob([new Uint8Array(file.bytes)]), file.name)
      return read(await send('POST', path, { body }), schema)
    },
    async send(method, path, file, schema) {
      const { handle, sizeBytes } = await openToRead(file)
      const body = Readable.toWeb(handle.createReadStream()) as BodyInit
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) }
      return read(await send(method, path, { headers, body }), schema)
    },
    async downloadTo(path, file) {
      const answer = await send('GET', path, {})
      if (!answer.ok || answer.body === null) return read(answer, z.never())
      const { body } = answer
      const target = await openToWrite(file).catch(async (fault: unknown) => {
        await body.cancel()
        throw fault
      })
      try {
        await pipeline(body, target.createWriteStream())
      } catch (cause) {
        await rm(file, { force: true })
        const fault = fileFault(cause, file)
        if (fault !== undefined) throw fault
        throw new AppError('unavailable', `The download broke off; ${file} was not written`, { cause })
      }
      return { sizeBytes: (await stat(file)).size, headers: answer.headers }
    },
    async *lines(path, body, schema) {
      const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
      const answer = await send('POST', path, json)
      if (!answer.ok || answer.body === null) {
        await read(answer, z.never())
        return
      }
      const lines = splitLines()
      for await (const chunk of unbroken(answer.body))
        for (const line of lines.push(chunk)) yield understand(toJson(line), schema, answer)
      for (const line of lines.rest()) yield understand(toJson(line), schema, answer)
    },
    async download(path) {
      const answer = await send('GET', path, {})
      if (!answer.ok) await read(answer, z.never())
      const disposition = answer.headers.get('content-disposition') ?? ''
      const name = /filename\*=UTF-8''([^;]+)/.exec(disposition)?.[1] ?? 'character'
      return { name: decodeURIComponent(name), bytes: new Uint8Array(await answer.arrayBuffer()) }
    },
  }
}
