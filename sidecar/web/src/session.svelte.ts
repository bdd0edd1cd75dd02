/** Who is looking, as Open WebUI tells it. */
import { ApiError } from './api/calling.ts'
import { beginSession, reaches, type Role } from './api/session.ts'

/** A sidecar that restarts is back in seconds; asking more often helps nobody. */
export const RETRY_MS = 5_000

export type Standing = 'checking' | 'open' | 'signed-out' | 'forbidden' | 'unreachable' | 'failed'

export class Session {
  standing = $state<Standing>('checking')
  /** What the sidecar said, when it let nobody in. */
  message = $state('')
  role = $state<Role>('viewer')
  openWebUiUrl = $state<string | null>(null)

  #retry: ReturnType<typeof setTimeout> | undefined

  may(demanded: Role): boolean {
    return reaches(this.role, demanded)
  }

  async check(): Promise<void> {
    try {
      const visitor = await beginSession()
      this.role = visitor.role
      this.openWebUiUrl = visitor.openWebUiUrl
      this.standing = 'open'
    } catch (error) {
      this.#refuse(error)
    }
  }

  /**
   * A login can end at any time: every call that is refused comes here. Answers whether the login was the reason. Who
   * may not do something may still be let in, with another role than before: that is asked anew, and the caller tells why.
   */
  end(error: unknown): boolean {
    if (!(error instanceof ApiError)) return false
    if (error.status === 403) void this.check()
    if (error.status !== 401) return false
    this.#refuse(error)
    return true
  }

  #refuse(error: unknown): void {
    if (!(error instanceof ApiError)) throw error
    this.openWebUiUrl = error.openWebUiUrl ?? this.openWebUiUrl
    this.message = error.message
    this.standing = standingOf(error.status)
    clearTimeout(this.#retry)
    if (this.standing === 'unreachable') this.#retry = setTimeout(() => void this.check(), RETRY_MS)
  }
}

function standingOf(status: number): Standing {
  if (status === 401) return 'signed-out'
  if (status === 403) return 'forbidden'
  return status === 0 ? 'unreachable' : 'failed'
}
