/** As much of HTTP/1.1 as a measurement needs. Node's own client and server would be slower than the gateways measured. */

const HEAD_END = '\r\n\r\n'
const LINE_BREAK = 0x0a
const NONE: Buffer = Buffer.alloc(0)

export interface RequestHead {
  method: string
  path: string
}

/**
 * Cuts what a client sends into requests; one at a time, `next` has to be called for the one after.
 * A body needs a `content-length`, which every gateway in question sends.
 */
export function createRequestReader(onRequest: (head: RequestHead, body: Buffer) => void) {
  let pending = NONE
  let isBusy = false
  const next = () => {
    isBusy = false
    const headEnd = pending.indexOf(HEAD_END)
    if (headEnd < 0) return
    const head = pending.toString('latin1', 0, headEnd)
    const bodyStart = headEnd + HEAD_END.length
    const bodyEnd = bodyStart + Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    if (pending.length < bodyEnd) return
    const body = pending.subarray(bodyStart, bodyEnd)
    pending = pending.subarray(bodyEnd)
    isBusy = true
    const [method = '', path = ''] = head.split(' ', 2)
    onRequest({ method, path }, body)
  }
  return {
    read(bytes: Buffer) {
      pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes])
      if (!isBusy) next()
    },
    next,
  }
}

export interface ResponseEvents {
  onHead(status: number): void
  /** A piece of the body, without its framing. */
  onBody(bytes: Buffer): void
  onEnd(): void
}

/** Reads answers that follow each other on one connection, framed by `content-length` or in chunks, cut anywhere. */
export function createResponseReader(on: ResponseEvents) {
  let pending = NONE
  let state: 'head' | 'length' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailers' = 'head'
  let remaining = 0

  const end = () => {
    state = 'head'
    on.onEnd()
  }
  const readHead = (head: string) => {
    on.onHead(Number(head.slice(9, 12)))
    remaining = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
    const isChunked = /\r\ntransfer-encoding: *chunked/i.test(head)
    state = isChunked ? 'chunk-size' : 'length'
    if (!isChunked && remaining === 0) end()
  }
  const readLine = (line: string) => {
    if (state === 'chunk-size') {
      remaining = Number.parseInt(line, 16)
      state = remaining === 0 ? 'trailers' : 'chunk'
    } else if (state === 'chunk-end') state = 'chunk-size'
    else if (line.trim() === '') end()
  }
  /** How many bytes could be read; 0 when more have to come first. */
  const step = (bytes: Buffer, at: number): number => {
    if (state === 'head') {
      const headEnd = bytes.indexOf(HEAD_END, at)
      if (headEnd < 0) return 0
      readHead(bytes.toString('latin1', at, headEnd + 2))
      return headEnd + HEAD_END.length - at
    }
    if (state === 'length' || state === 'chunk') {
      const size = Math.min(remaining, bytes.length - at)
      remaining -= size
      on.onBody(bytes.subarray(at, at + size))
      if (remaining === 0) {
        if (state === 'length') end()
        else state = 'chunk-end'
      }
      return size
    }
    const lineEnd = bytes.indexOf(LINE_BREAK, at)
    if (lineEnd < 0) return 0
    readLine(bytes.toString('latin1', at, lineEnd))
    return lineEnd + 1 - at
  }
  return {
    read(next: Buffer) {
      const bytes = pending.length === 0 ? next : Buffer.concat([pending, next])
      let at = 0
      while (at < bytes.length) {
        const size = step(bytes, at)
        if (size === 0) break
        at += size
      }
      pending = at === bytes.length ? NONE : bytes.subarray(at)
    },
  }
}
