/** A chosen greeting is spoken from the card: no model, no wait, exactly the author's words. */
import { greetingOffers } from '#characters/greetings.ts'
import { expand } from '#characters/macros.ts'
import { messageText, type Ask } from '#prompt/ask.ts'
import { macroValues } from '#prompt/macro-values.ts'
import { neutralise } from '#prompt/neutral.ts'
import type { Materials } from '#prompt/prompt.ts'
import type { Delta } from '#providers/provider.ts'

/** The greeting's text when the whole conversation is one user message that chose it. */
export function chosenGreeting(ask: Pick<Ask, 'messages'>, materials: Materials): string | undefined {
  const [only, ...others] = ask.messages.filter((message) => message.role !== 'system')
  if (only?.role !== 'user' || others.length > 0) return undefined
  const { card } = materials.speaker
  const said = messageText(only).trim()
  const offer = greetingOffers(card).find(({ prompt }) => prompt === said)
  // It comes back as history in the next turn.
  return offer && neutralise(expand(offer.greeting, macroValues(materials, 'greeting', 'minute'))).trim()
}

// eslint-disable-next-line @typescript-eslint/require-await -- the same shape as an answer of a model
export async function* speak(text: string): AsyncGenerator<Delta, void, undefined> {
  yield { type: 'text', text }
  yield { type: 'done', reason: 'stop', usage: { promptTokens: 0, completionTokens: 0 } }
}
