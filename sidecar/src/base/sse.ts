/** Server-sent events, read from bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html). */
import { AppError } from './errors.ts'
import { createLineSplitter, MAX_LINE_BYTES } from './ndjson.ts'

export interface SseEvent {
  /** `message` unless the server named it. */
  event: string
  data: string
}

/**
 * The events of a stream. Comments and the fields `id` and `retry` are skipped, lines of `data` are joined by line feeds.
 * Two liberties: an event whose closing blank line is missing counts, and a lone carriage return ends no line (nobody sends it).
 * Throws AppError `upstream` for a line or an event over the limit.
 */
export function splitEvents(maxEventBytes: number = MAX_LINE_BYTES) {
  const splitter = createLineSplitter(maxEventBytes)
  const collector = createCollector(maxEventBytes)
  const collect = (lines: readonly string[]): SseEvent[] => {
    const events: SseEvent[] = []
    for (const line of lines) {
      const event = collector.add(line)
      if (event !== undefined) events.push(event)
    }
    return events
  }
  return {
    push(chunk: Uint8Array): SseEvent[] {
      const data = splitter.isEmpty() && collector.isEmpty() ? loneData(chunk) : undefined
      if (data === undefined || data.length > maxEventBytes) return collect(splitter.push(chunk))
      return [{ event: 'message', data }]
    },
    rest: (): SseEvent[] => collect([splitter.rest(), '']),
  }
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const DATA = Buffer.from('data: ')

/**
 * The data of a chunk that is one event of one line, as nearly all chunks of an answer are; undefined for every other one.
 * It ends in a line break, so no character is cut.
 */
function loneData(chunk: Uint8Array): string | undefined {
  const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  const end = bytes.length - 2
  if (bytes.indexOf(LINE_FEED) !== end || bytes[end + 1] !== LINE_FEED) return undefined
  if (bytes[end - 1] === CARRIAGE_RETURN) return undefined
  if (bytes.compare(DATA, 0, DATA.length, 0, DATA.length) !== 0) return undefined
  return bytes.toString('utf8', DATA.length, end)
}

function createCollector(maxEventBytes: number) {
  let name = ''
  let data: string | undefined

  function dispatch(): SseEvent | undefined {
    const event = data === undefined ? undefined : { event: name || 'message', data }
    name = ''
    data = undefined
    return event
  }

  function keep(value: string): void {
    data = data === undefined ? value : `${data}\n${value}`
    if (data.length > maxEventBytes) {
      throw new AppError('upstream', `The model server sent an event of more than ${maxEventBytes} bytes`)
    }
  }

  return {
    /** No line of an event that is not closed yet. */
    isEmpty() {
      return data === undefined && name === ''
    },
    /** Takes one line; answers the event that it closes. */
    add(line: string): SseEvent | undefined {
      if (line === '') return dispatch()
      if (line.startsWith('data:')) keep(fieldValue(line, 5))
      else if (line.startsWith('event:')) name = fieldValue(line, 6)
      else if (line === 'data') keep('')
      return undefined
    },
  }
}

/** One space after the colon belongs to the format, further ones to the value. */
function fieldValue(line: string, from: number): string {
  return line.charCodeAt(from) === 0x20 ? line.slice(from + 1) : line.slice(from)
}
