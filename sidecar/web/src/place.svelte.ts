/** What is being looked at, kept in the address: reload, Back and a copied link show the same. */
import { NOTHING_OPEN, readView, writeView, type Page, type View } from './address.ts'
import type { Choice } from './figures/choice.ts'

/** Browsers refuse more than about 100 changes of the address in 30 s, and typing is faster. */
const SETTLE_MS = 300

export class Place {
  view = $state.raw<View>(readView(location.search))
  #settling: ReturnType<typeof setTimeout> | undefined

  /** Takes over the address, after Back and Forward. */
  read(): void {
    clearTimeout(this.#settling)
    this.view = readView(location.search)
  }

  /** Changes what the list shows, without a step in the history. */
  narrow(change: Partial<Pick<View, 'search' | 'filter'>>): void {
    this.view = { ...this.view, ...change }
    clearTimeout(this.#settling)
    this.#settling = setTimeout(
      () => history.replaceState(history.state, '', writeView(this.view)),
      SETTLE_MS,
    )
  }

  open(characterId: string): void {
    this.#step({ ...NOTHING_OPEN, page: 'characters', characterId })
  }

  openLorebook(lorebookId: string): void {
    this.#step({ ...NOTHING_OPEN, page: 'lorebooks', lorebookId })
  }

  openKey(keyId: string): void {
    this.#step({ ...NOTHING_OPEN, page: 'keys', keyId })
  }

  goTo(page: Page): void {
    if (page !== this.view.page) this.#step({ ...NOTHING_OPEN, page })
  }

  /** Leads somebody away who may not see what the address names: Back does not lead to it again. */
  turnAway(): void {
    clearTimeout(this.#settling)
    this.view = { ...this.view, ...NOTHING_OPEN, page: 'characters' }
    history.replaceState(null, '', writeView(this.view))
  }

  /** What the figures are about. */
  choose(change: Partial<Choice>): void {
    this.#step({ figures: { ...this.view.figures, ...change } })
  }

  #step(change: Partial<View>): void {
    clearTimeout(this.#settling)
    history.replaceState(history.state, '', writeView(this.view))
    this.view = { ...this.view, ...change }
    history.pushState({ isStep: true }, '', writeView(this.view))
  }

  /** Back to the list: one step back if what is open was opened here, else in place. */
  close(): void {
    const { characterId, lorebookId, keyId } = this.view
    if ((characterId ?? lorebookId ?? keyId) === null) return
    this.view = { ...this.view, ...NOTHING_OPEN }
    const state: unknown = history.state
    if (typeof state === 'object' && state !== null && 'isStep' in state) history.back()
    else history.replaceState(null, '', writeView(this.view))
  }

  addressOf(characterId: string): string {
    return writeView({ ...this.view, characterId })
  }

  addressOfLorebook(lorebookId: string): string {
    return writeView({ ...this.view, lorebookId })
  }

  addressOfKey(keyId: string): string {
    return writeView({ ...this.view, keyId })
  }

  addressOfChoice(change: Partial<Choice>): string {
    return writeView({ ...this.view, figures: { ...this.view.figures, ...change } })
  }

  addressOfPage(page: Page): string {
    return writeView({ ...this.view, ...NOTHING_OPEN, page })
  }
}
