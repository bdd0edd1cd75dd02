/**
 * Stands before a real Ollama and does for a small model what a larger one does by itself: it calls a tool that it is offered,
 * and says what came of it. All else is the server's own: the template, the grammar, the reading of the call.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Coach {
  /** Origin, in place of the server's. */
  origin: string
  close(): Promise<void>
}

/** What the model has to call, and the words it has to end with once `result` has come back. */
export interface Lesson {
  tool: string
  arguments: Readonly<Record<string, string>>
  result: string
  words: string
}

type Body = Record<string, unknown>
interface Message {
  role: string
  content?: unknown
}

const ENOUGH_TOKENS = 80

export async function openCoach(target: string, lesson: Lesson): Promise<Coach> {
  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const bytes = await buffer(incoming)
    const { method, url = '/', headers } = incoming
    const isChat = method === 'POST' && url === '/api/chat'
    const sent = isChat
      ? Buffer.from(JSON.stringify(teach(JSON.parse(bytes.toString()) as Body, lesson)))
      : bytes
    const { 'content-length': _length, ...rest } = headers
    const asking = request(new URL(url, target), {
      method,
      headers: { ...rest, 'content-length': sent.length },
    })
    asking.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
    })
    asking.on('error', () => outgoing.destroy())
    outgoing.on('close', () => asking.destroy())
    asking.end(sent)
  }
  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch(() => outgoing.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Whether a tool has still to be called, or the words are due; undefined for every other request. */
function stepOf({ tools, messages }: Body, { result }: Lesson): 'call' | 'words' | undefined {
  const told = (messages as Message[]).filter(({ role }) => role === 'tool')
  if (told.some(({ content }) => JSON.stringify(content).includes(result))) return 'words'
  return tools !== undefined && told.length === 0 ? 'call' : undefined
}

const constant = (value: string) => ({ type: 'string', enum: [value] })

const objectOf = (properties: Record<string, unknown>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
})

const constants = (values: Lesson['arguments']) =>
  objectOf(Object.fromEntries(Object.entries(values).map(([name, value]) => [name, constant(value)])))

/** Ollama has no `tool_choice`; its grammar makes the model write what Ollama then reads as a call. */
function teach(body: Body, lesson: Lesson): Body {
  const step = stepOf(body, lesson)
  if (step === undefined) return body
  const options = { ...(body['options'] as Body), num_predict: ENOUGH_TOKENS }
  if (step === 'words') return { ...body, options, tools: undefined, format: constant(lesson.words) }
  const format = objectOf({ name: constant(lesson.tool), parameters: constants(lesson.arguments) })
  return { ...body, options, format }
}
