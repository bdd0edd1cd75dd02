/** Greetings of a card, offered in Open WebUI as prompt suggestions; choosing one brings the stored text without a model call. */
import type { Card } from './card.ts'

export interface GreetingOffer {
  /** What the chosen suggestion sends as the user's first message. */
  prompt: string
  greeting: string
}

/** Open WebUI shows a handful of suggestions; more would push each other out of sight. */
const OFFERED = 5

/** The first message and its alternatives, in the card's order. */
export function greetingOffers(card: Pick<Card, 'first_mes' | 'alternate_greetings'>): GreetingOffer[] {
  const greetings = [card.first_mes, ...card.alternate_greetings].filter((text) => text.trim() !== '')
  return greetings.slice(0, OFFERED).map((greeting, index) => ({
    prompt: index === 0 ? '(Begin the scene)' : `(Begin the scene another way: ${String(index + 1)})`,
    greeting,
  }))
}
