/** Light or dark: the system's choice until the reader makes one. `public/theme.js` sets the first value before the first paint. */

const CHOICE = 'troupe.theme'

type Scheme = 'light' | 'dark'

export class Theme {
  scheme = $state<Scheme>(document.documentElement.dataset['theme'] === 'dark' ? 'dark' : 'light')
  readonly #system = matchMedia('(prefers-color-scheme: dark)')

  constructor() {
    this.#apply(this.scheme)
    this.#system.addEventListener('change', () => {
      if (readChoice() === null) this.#apply(this.#systemScheme())
    })
  }

  /** Choosing what the system has anyway gives the choice back to the system. */
  toggle(): void {
    const next = this.scheme === 'dark' ? 'light' : 'dark'
    keepChoice(next === this.#systemScheme() ? null : next)
    this.#apply(next)
  }

  #systemScheme(): Scheme {
    return this.#system.matches ? 'dark' : 'light'
  }

  #apply(scheme: Scheme): void {
    this.scheme = scheme
    document.documentElement.dataset['theme'] = scheme
    const ground = getComputedStyle(document.documentElement).getPropertyValue('--ground').trim()
    document.querySelector('meta[name=theme-color]')?.setAttribute('content', ground)
  }
}

function readChoice(): string | null {
  try {
    return localStorage.getItem(CHOICE)
  } catch {
    return null // storage is blocked: nothing was ever kept
  }
}

function keepChoice(scheme: Scheme | null): void {
  try {
    if (scheme === null) localStorage.removeItem(CHOICE)
    else localStorage.setItem(CHOICE, scheme)
  } catch {
    // Storage is blocked: the choice holds until the page is left.
  }
}
