/** What lasts over several turns, each until the chat has so many messages. Found anew by running the earlier turns again. */
import type { Item } from './open-book.ts'

export class Lasting {
  readonly #sticky = new Map<Item, number>()
  readonly #cooldown = new Map<Item, number>()
  readonly #matched = new Set<Item>()

  /** Ends what has run out. A cooldown begins anew when a sticky of the same entry ends. */
  begin(count: number): void {
    for (const [item, end] of this.#sticky) {
      if (end > count) continue
      this.#sticky.delete(item)
      if (item.entry.cooldown > 0) this.#cooldown.set(item, end + item.entry.cooldown)
    }
    for (const [item, end] of this.#cooldown) if (end <= count) this.#cooldown.delete(item)
  }

  /** A running sticky is not made longer by another match. */
  after(activated: Iterable<Item>, count: number): void {
    for (const item of activated) {
      const { sticky, cooldown } = item.entry
      this.#matched.add(item)
      if (sticky > 0 && !this.#sticky.has(item)) this.#sticky.set(item, count + sticky)
      if (cooldown > 0 && !this.#cooldown.has(item)) this.#cooldown.set(item, count + cooldown)
    }
  }

  sticky(): Iterable<Item> {
    return this.#sticky.keys()
  }

  isSticky(item: Item): boolean {
    return this.#sticky.has(item)
  }

  isCooling(item: Item): boolean {
    return this.#cooldown.has(item)
  }

  hasMatched(item: Item): boolean {
    return this.#matched.has(item)
  }
}
