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

/**
 * The blocks of a chat end together, with the oldest of them: a sentence is kept no longer than that, however long the chat
 * goes on. The next cut tells of all of them anew.
 */
const KEPT_MS = 7 * 86_400_000

/** A summary that hangs must not keep later turns from theirs. */
const LEASE_MS = 120_000

/** A block of more turns than this is written in portions, one for each answer. */
const MOST_TURNS = 40

const SUMMARY_TOKENS = 200

/** Each asks a model beside the chats; more would make people wait. */
const AT_ONCE = 2

export const SUMMARY_TASK = 'conversation_summary'

/** By character. One value for a chat, so that a chat can be forgotten without knowing who spoke in it. */
const Stored = z.record(
  z.string(),
  z.array(z.object({ turns: z.number(), hash: z.string(), text: z.string(), writtenAtMs: z.number() })),
)
type Stored = z.infer<typeof Stored>
type StoredBlock = Stored[string][number]

/** Pseudonyms of the chats of a person. */
const ChatNames = z.array(z.string())
const MOST_CHATS = 1_000

export interface Summaries {
  /** The blocks of this very chat, oldest first: those whose turns were edited since do not count. */
  recall(ask: Ask, speaker: Speaker): Promise<SummaryBlock[]>
  /** Writes the next block in the background when turns were cut that no block tells of. Returns at once. */
  extend(ask: Ask, answered: { speaker?: Speaker; prompt?: Prompt }, turn: Answer): void
  /** Forgets all summaries of these chats and of these people; both are pseudonyms. */
  forget(who: { persons: readonly string[]; chats: readonly string[] }): Promise<void>
  /** The sentences about the chats of these people. */
  texts(persons: readonly string[]): Promise<string[]>
  /** Ends what is being written. */
  close(): Promise<void>
}

interface SummaryParts {
  kv: Kv
  pseudonym: (kind: 'person' | 'chat', id: string) => string
  /** True for a pseudonym of who was erased. */
  isBuried: (kind: 'person' | 'chat', name: string) => boolean
  log: Log
  now: () => number
}

export function createSummaries({ kv, pseudonym, isBuried, log, now }: SummaryParts): Summaries {
  const closing = new AbortController()
  const running = new Set<Promise<void>>()

  const keyOf = (chat: string) => `summary:${chat}`
  const chatsOf = (person: string) => `summary-chats:${person}`

  const ownersOf = (chat: string) => `summary-owners:${chat}`

  /** Without the id of a chat nothing is kept: two chats could be taken for one. */
  const chatOf = (ask: Ask) => {
    const own = ownChat(ask)
    return own === undefined ? undefined : pseudonym('chat', own)
  }

  async function read(chat: string): Promise<Stored> {
    const text = await kv.get(keyOf(chat))
    return text === undefined ? {} : Stored.catch({}).parse(JSON.parse(text))
  }

  async function store(chat: string, stored: Stored): Promise<void> {
    const written = Object.values(stored).flatMap((blocks) => blocks.map(({ writtenAtMs }) => writtenAtMs))
    const leftMs = Math.min(...written) + KEPT_MS - now()
    if (leftMs > 0) await kv.set(keyOf(chat), JSON.stringify(stored), leftMs)
  }

  async function namesAt(key: string): Promise<string[]> {
    const text = await kv.get(key)
    return text === undefined ? [] : ChatNames.catch([]).parse(JSON.parse(text))
  }

  async function addName(key: string, name: string): Promise<void> {
    const others = (await namesAt(key)).filter((other) => other !== name)
    await kv.set(key, JSON.stringify([name, ...others].slice(0, MOST_CHATS)), KEPT_MS)
  }

  /** So that whoever is erased can be erased here, and a chat that was deleted. */
  async function rememberWhose(chat: string, { person, conversation }: Ask): Promise<void> {
    if (person !== undefined) await addName(chatsOf(pseudonym('person', person.id)), chat)
    if (conversation.chatId !== undefined)
      await addName(ownersOf(pseudonym('chat', conversation.chatId)), chat)
  }

  /** Erased while it was written: it must not come back. */
  const isErased = ({ person, conversation: { chatId } }: Ask) =>
    (person !== undefined && isBuried('person', pseudonym('person', person.id))) ||
    (chatId !== undefined && isBuried('chat', pseudonym('chat', chatId)))

  async function write(
    chat: string,
    characterId: string,
    ask: Ask,
    turns: Turns,
    kept: readonly StoredBlock[],
    turn: Answer,
  ) {
    const lease = `${keyOf(chat)}:${characterId}:lease`
    if ((await kv.increment(lease, LEASE_MS)) > 1) return
    const from = kept.at(-1)?.turns ?? 0
    const until = Math.min(turns.length, from + MOST_TURNS)
    const said = turns.slice(from, until).flatMap(({ messages }) => messages)
    const text = await collect(turn(summaryAsk(ask, said, createId(now())), closing.signal))
    if (text !== '' && !isErased(ask)) {
      const block = { turns: until, hash: hashOf(turns.slice(0, until)), text, writtenAtMs: now() }
      await rememberWhose(chat, ask)
      await store(chat, { ...(await read(chat)), [characterId]: [...kept, block] })
    }
    await kv.delete(lease)
  }

  return {
    async recall(ask, speaker) {
      const chat = settingsOf(speaker.card).summary ? chatOf(ask) : undefined
      if (chat === undefined) return []
      // A chat goes on without them when the store does not answer.
      const stored = await read(chat).catch((): Stored => ({}))
      const blocks = stored[speaker.characterId] ?? []
      return validBlocks(blocks, splitTurns(readConversation(ask.messages).history))
    },
    extend(ask, { speaker, prompt }, turn) {
      const cutTurns = prompt?.cutTurns ?? 0
      const wants = speaker !== undefined && settingsOf(speaker.card).summary
      const chat = wants ? chatOf(ask) : undefined
      if (chat === undefined || speaker === undefined || cutTurns === 0 || running.size >= AT_ONCE) return
      const turns = splitTurns(readConversation(ask.messages).history).slice(0, cutTurns)
      const { characterId } = speaker
      const work = read(chat)
        .then(async (stored) => {
          const kept = validBlocks(stored[characterId] ?? [], turns)
          if ((kept.at(-1)?.turns ?? 0) < cutTurns) await write(chat, characterId, ask, turns, kept, turn)
        })
        .catch((thrown: unknown) => {
          log.warn({ errorCode: toAppError(thrown).code }, 'no summary of older turns could be written')
        })
        .finally(() => running.delete(work))
      running.add(work)
    },
    async forget({ persons, chats }) {
      for (const list of chats.map(ownersOf)) {
        for (const chat of await namesAt(list)) await kv.delete(keyOf(chat))
        await kv.delete(list)
      }
      const own = (await Promise.all(persons.map((person) => namesAt(chatsOf(person))))).flat()
      // The sentences, and the lists that lead to them.
      if (own.length > 0) await kv.forget([...own, ...persons.map(chatsOf)])
    },
    async texts(persons) {
      const chats = (await Promise.all(persons.map((person) => namesAt(chatsOf(person))))).flat()
      const stored = await Promise.all([...new Set(chats)].map(read))
      return stored.flatMap((characters) =>
        Object.values(characters).flatMap((blocks) => blocks.map(({ text }) => text)),
      )
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
