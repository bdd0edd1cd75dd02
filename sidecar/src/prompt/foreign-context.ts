/**
 * What Open WebUI puts around a question when it has looked up documents of its own: its template, with the passages between
 * `<context>` marks and the person's words behind them. Shape of Open WebUI 0.12, seen in the requests it sends.
 */
import { messageText, type ChatMessage } from './ask.ts'

export interface ForeignContext {
  /** What the person said, without what was put around it. */
  words: string
  /** Of its sources. Open WebUI counts different labels, its own first, so ours are numbered after them. */
  labels: ReadonlySet<string>
  /** The text of its passages, as one. */
  text: string
}

const OPENING = '<context>'
const CLOSING = '</context>'
const SOURCE = /<source id="[^"]{0,40}"(?: name="([^"]{0,400})")?/g

/** Reads the last message of the user, and system messages: an option of Open WebUI puts its passages there. */
export function foreignContext(messages: readonly ChatMessage[]): ForeignContext {
  const last = messages.findLast(({ role }) => role === 'user')
  const said = last === undefined ? '' : messageText(last)
  const { words, text } = apart(said)
  const systems = messages
    .filter(({ role }) => role === 'system')
    .map((message) => apart(messageText(message)).text)
  const all = [text, ...systems].filter((each) => each !== '').join('\n')
  const labels = new Set([...all.matchAll(SOURCE)].map(([tag, name]) => name ?? tag))
  return { words, labels, text: all }
}

function apart(said: string): { words: string; text: string } {
  const begins = said.indexOf(OPENING)
  const ends = said.lastIndexOf(CLOSING)
  const text = begins === -1 || ends < begins ? '' : said.slice(begins + OPENING.length, ends)
  // The marks alone are no template: a person may write about them.
  if (!text.includes('<source ')) return { words: said.trim(), text: '' }
  return { words: said.slice(ends + CLOSING.length).trim(), text }
}
