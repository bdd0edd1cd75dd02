/** Small valid values; a test names only what it is about. */
import type { Card, LorebookEntry } from '#characters/card.ts'
import type { Ask, ChatMessage } from '#prompt/ask.ts'
import type { Materials } from '#prompt/prompt.ts'

export function sampleCard(over: Partial<Card> = {}): Card {
  return {
    name: 'Mira Holt',
    description: '{{char}} keeps a lighthouse and answers {{user}} slowly.',
    personality: 'calm',
    scenario: 'A storm is coming.',
    first_mes: 'Come in, {{user}}.',
    mes_example: '<START>\n{{user}}: Hello\n{{char}}: Mind the step.',
    creator_notes: 'A calm keeper.',
    system_prompt: '',
    post_history_instructions: '',
    alternate_greetings: [],
    group_only_greetings: [],
    tags: ['Companion'],
    creator: '',
    character_version: '1.0',
    extensions: {},
    ...over,
  }
}

export function sampleEntry(over: Partial<LorebookEntry> = {}): LorebookEntry {
  return {
    keys: [],
    content: 'The lamp burns whale oil.',
    extensions: {},
    enabled: true,
    insertion_order: 0,
    use_regex: false,
    constant: true,
    ...over,
  }
}

export const sampleMaterials = (card: Partial<Card> = {}, userName = 'Tom'): Materials => ({
  speaker: { characterId: 'mira', version: 1, card: sampleCard(card) },
  userName,
})

export const user = (text: string): ChatMessage => ({ role: 'user', content: [{ type: 'text', text }] })
export const assistant = (text: string): ChatMessage => ({ role: 'assistant', text })
export const system = (text: string): ChatMessage => ({ role: 'system', text })

export function sampleAsk(over: Partial<Ask> = {}): Ask {
  return {
    requestId: 'request-1',
    model: 'mira',
    messages: [user('Hello')],
    stream: true,
    sampling: {},
    tools: [],
    extra: {},
    surface: 'open-webui',
    keyId: 'connection',
    conversation: {},
    ...over,
  }
}

/** A chat of `turns` answered questions, ending with an open one. */
export function longChat(turns: number, wordsPerMessage = 40): ChatMessage[] {
  const words = (seed: number) =>
    Array.from({ length: wordsPerMessage }, (_, at) => `word${String((seed * 7 + at) % 97)}`).join(' ')
  const answered = Array.from({ length: turns }, (_, at) => [
    user(`${String(at)} ${words(at)}`),
    assistant(words(at + 1)),
  ]).flat()
  return [...answered, user('And now?')]
}
