/** A model server that is nothing but bytes on a socket: what it sends, and where it breaks off, is up to the test. */
import { createServer, type AddressInfo, type Socket } from 'node:net'

export interface WireServer {
  /** With `/v1`, as people configure it. */
  url: string
  /** As people configure an Ollama. */
  origin: string
  /** Bodies of the requests for an answer so far. */
  chats: string[]
  close(): Promise<void>
}

const ANSWERED = new Set(['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/api/chat'])

/** `answer` gets the body of each request for an answer, and its socket. Lists the models that are named, for OpenAI's and for Ollama's clients. */
export async function openWireServer(
  models: readonly string[],
  answer: (body: string, socket: Socket) => void,
): Promise<WireServer> {
  const sockets = new Set<Socket>()
  const chats: string[] = []
  const tags = JSON.stringify({ models: models.map((name) => ({ name })) })
  const list = JSON.stringify({ data: models.map((id) => ({ id, max_model_len: 8_192 })) })

  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
    let heard = ''
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString('latin1')
      const head = heard.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(heard)?.[1] ?? 0)
      if (head === -1 || heard.length < head + 4 + length) return
      const [path, body] = [heard.split(' ', 2)[1], heard.slice(head + 4, head + 4 + length)]
      heard = heard.slice(head + 4 + length)
      if (path === '/v1/models') socket.write(whole('200 OK', list))
      else if (path === '/api/tags') socket.write(whole('200 OK', tags))
      else if (path === '/api/show') socket.write(whole('200 OK', '{}'))
      else if (path !== undefined && ANSWERED.has(path)) {
        chats.push(body)
        answer(body, socket)
      } else socket.write(whole('404 Not Found', '{}'))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const origin = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`
  return {
    url: `${origin}/v1`,
    origin,
    chats,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export const whole = (status: string, body: string, more = ''): string =>
  `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${String(Buffer.byteLength(body))}\r\n${more}\r\n${body}`

/** The head of a stream without chunked encoding: it ends with the connection. */
export const STREAM_HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n'

/** As `STREAM_HEAD`, of an Ollama. */
export const LINES_HEAD = STREAM_HEAD.replace('text/event-stream', 'application/x-ndjson')

export const sseEvent = (delta: object, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
