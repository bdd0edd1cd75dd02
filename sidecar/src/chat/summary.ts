/**
 * What was said in the turns that no longer fit, in a few sentences: for characters that ask for it. A block is written once,
 * after the answer that it will be missed in next, and never rewritten; later turns get blocks of their own. The sentences
 * are the only text of a chat that Troupe keeps: in the kv, under a pseudonym, for seven days at most.
 */
import { createHash } from 'node:crypto'

import { z } from 'zod'

import { toAppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Kv } from '#kv/kv.ts'
import { messageText, ownChat, type Ask, type ChatMessage } from '#prompt/ask.ts'
import { readConversation } from '#prompt/conversation.ts'
import { splitTurns } from '#prompt/history.ts'
import type { Prompt, Speaker, SummaryBlock } from '#prompt/prompt.ts'

import type { Told } from '#providers/provider.ts'

/** One turn: a summary is asked for like everything else, and has its record like everything else. */
type Answer = (ask: Ask, signal: AbortSignal) => AsyncGenerator<Told, void, undefined>

const KEPT_MS = 7 * 86_400_000

/** A summary that hangs must not keep later turns from theirs. */
const LEASE_MS = 120_000

/** A block of more turns than this is written in portions, one for each answer. */
const MOST_TURNS = 40

const SUMMARY_TOKENS = 200

/** Each asks a model beside the chats; more would make people wait. */
const AT_ONCE = 2

export const SUMMARY_TASK = 'conversation_summary'

const Stored = z.array(z.object({ turns: z.number(), hash: z.string(), text: z.string() }))
type StoredBlock = z.infer<typeof Stored>[number]

export interface Summaries {
  /** The blocks of this very chat, oldest first: those whose turns were edited since do not count. */
  recall(ask: Ask, speaker: Speaker): Promise<SummaryBlock[]>
  /** Writes the next block in the background when turns were cut that no block tells of. Returns at once. */
  extend(ask: Ask, answered: { speaker?: Speaker; prompt?: Prompt }, turn: Answer): void
  /** Ends what is being written. */
  close(): Promise<void>
}

interface SummaryParts {
  kv: Kv
  pseudonym: (kind: 'chat', id: string) => string
  log: Log
  now: () => number
}

export function createSummaries({ kv, pseudonym, log, now }: SummaryParts): Summaries {
  const closing = new AbortController()
  const running = new Set<Promise<void>>()

  /** Without the id of a chat nothing is kept: two chats could be taken for one. */
  const keyOf = (ask: Ask, { characterId }: Speaker) => {
    const chat = ownChat(ask)
    return chat === undefined ? undefined : `summary:${pseudonym('chat', `${chat} ${characterId}`)}`
  }

  async function read(key: string): Promise<StoredBlock[]> {
    const text = await kv.get(key)
    return text === undefined ? [] : Stored.catch([]).parse(JSON.parse(text))
  }

  async function write(key: string, ask: Ask, turns: Turns, kept: readonly StoredBlock[], turn: Answer) {
    if ((await kv.increment(`${key}:lease`, LEASE_MS)) > 1) return
    const from = kept.at(-1)?.turns ?? 0
    const until = Math.min(turns.length, from + MOST_TURNS)
    const said = turns.slice(from, until).flatMap(({ messages }) => messages)
    const text = await collect(turn(summaryAsk(ask, said, createId(now())), closing.signal))
    if (text !== '') {
      const block = { turns: until, hash: hashOf(turns.slice(0, until)), text }
      await kv.set(key, JSON.stringify([...kept, block]), KEPT_MS)
    }
    await kv.delete(`${key}:lease`)
  }

  return {
    async recall(ask, speaker) {
      const key = settingsOf(speaker.card).summary ? keyOf(ask, speaker) : undefined
      if (key === undefined) return []
      // A chat goes on without them when the store does not answer.
      const stored = await read(key).catch(() => [])
      return validBlocks(stored, splitTurns(readConversation(ask.messages).history))
    },
    extend(ask, { speaker, prompt }, turn) {
      const cutTurns = prompt?.cutTurns ?? 0
      const wants = speaker !== undefined && settingsOf(speaker.card).summary
      const key = wants ? keyOf(ask, speaker) : undefined
      if (key === undefined || cutTurns === 0 || running.size >= AT_ONCE) return
      const turns = splitTurns(readConversation(ask.messages).history).slice(0, cutTurns)
      const work = read(key)
        .then(async (stored) => {
          const kept = validBlocks(stored, turns)
          if ((kept.at(-1)?.turns ?? 0) < cutTurns) await write(key, ask, turns, kept, turn)
        })
        .catch((thrown: unknown) => {
          log.warn({ errorCode: toAppError(thrown).code }, 'no summary of older turns could be written')
        })
        .finally(() => running.delete(work))
      running.add(work)
    },
    async close() {
      closing.abort()
      await Promise.all(running)
    },
  }
}

type Turns = ReturnType<typeof splitTurns>

/** From the first block on, as long as each tells of what the chat still says. */
function validBlocks(blocks: readonly StoredBlock[], turns: Turns): StoredBlock[] {
  const firstWrong = blocks.findIndex(
    ({ turns: count, hash }) => count > turns.length || hash !== hashOf(turns.slice(0, count)),
  )
  return firstWrong === -1 ? [...blocks] : blocks.slice(0, firstWrong)
}

function hashOf(turns: Turns): string {
  const hash = createHash('sha256')
  for (const { messages } of turns)
    for (const message of messages) hash.update(`${message.role}\0${messageText(message)}\0`)
  return hash.digest('base64url')
}

function summaryAsk(ask: Ask, said: readonly ChatMessage[], requestId: string): Ask {
  const dialogue = said
    .filter(({ role }) => role === 'user' || role === 'assistant')
    .map((message) => `${message.role === 'user' ? 'User' : 'Character'}: ${messageText(message)}`)
    .join('\n')
  const words = `Summarise this conversation in at most five sentences. Keep names, facts, promises and open questions. Write the summary only.\n\n${dialogue}`
  const { model, surface, keyId, person, conversation } = ask
  return {
    ...{ requestId, model, surface, keyId, task: SUMMARY_TASK, stream: false, tools: [], extra: {} },
    messages: [{ role: 'user', content: [{ type: 'text', text: words }] }],
    sampling: { maxTokens: SUMMARY_TOKENS, temperature: 0.2 },
    ...(person && { person }),
    conversation: conversation.chatId === undefined ? {} : { chatId: conversation.chatId },
  }
}

async function collect(deltas: ReturnType<Answer>): Promise<string> {
  let text = ''
  for await (const delta of deltas) if (delta.type === 'text') text += delta.text
  return text.trim()
}
