/** What is being looked at, kept in the address: reload, Back and a copied link show the same. */
import { readView, writeView, type Page, type View } from './address.ts'

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
    this.#step({ page: 'characters', characterId, lorebookId: null })
  }

  openLorebook(lorebookId: string): void {
    this.#step({ page: 'lorebooks', characterId: null, lorebookId })
  }

  goTo(page: Page): void {
    if (page !== this.view.page) this.#step({ page, characterId: null, lorebookId: null })
  }

  #step(change: Partial<View>): void {
    clearTimeout(this.#settling)
    history.replaceState(history.state, '', writeView(this.view))
    this.view = { ...this.view, ...change }
    history.pushState({ isStep: true }, '', writeView(this.view))
  }

  /** Back to the list: one step back if what is open was opened here, else in place. */
  close(): void {
    if (this.view.characterId === null && this.view.lorebookId === null) return
    this.view = { ...this.view, characterId: null, lorebookId: null }
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

  addressOfPage(page: Page): string {
    return writeView({ ...this.view, page, characterId: null, lorebookId: null })
  }
}
