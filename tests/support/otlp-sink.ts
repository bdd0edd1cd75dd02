/** A collector of traces (OTLP over HTTP, JSON) that remembers what it was sent. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

export interface SeenSpan {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
}

export interface OtlpSink {
  endpoint: string
  spans: SeenSpan[]
  /** Everything, as it came. */
  raw: string[]
  close(): Promise<void>
}

interface Export {
  resourceSpans: { scopeSpans: { spans: SeenSpan[] }[] }[]
}

export async function openOtlpSink(): Promise<OtlpSink> {
  const spans: SeenSpan[] = []
  const raw: string[] = []
  const server = createServer((request, answer) => {
    void text(request).then((body) => {
      raw.push(body)
      const { resourceSpans } = JSON.parse(body) as Export
      spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans)))
      answer.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    spans,
    raw,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
