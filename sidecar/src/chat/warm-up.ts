/**
 * Lets a model server read a character's persona before anybody asks: after it was published, and at the start those who
 * were talked to last. The first question then costs what the second does. People come first: nothing is read while
 * somebody waits for an answer, and what is being read is given up.
 */
import { after as realAfter, type After } from '#base/after.ts'
import { toAppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Library } from '#library/library.ts'
import type { Ask } from '#prompt/ask.ts'

import type { Turn } from './turn.ts'

/** An import of many cards is many changes. */
const SOON_MS = 1_000
/** Until it is looked again whether nobody is talking, and a server is there. */
const LATER_MS = 5_000

export interface WarmUp {
  /** Has the published version read, some time from now. Returns at once. */
  want(characterId: string): void
  /** Somebody asks: what is being read is given up, and read later. */
  stepAside(): void
  close(): Promise<void>
}

export interface WarmUpParts {
  turn: Turn
  library: Pick<Library, 'published'>
  /** No model server is there, or it answers somebody. */
  isBusy: () => boolean
  /** Of those that are wanted the newest; 0 for none. */
  most: number
  /** Says whether no other process has begun with this version; `end` lets it be begun again. */
  claim: (version: string) => Promise<{ isOurs: boolean; end: () => Promise<void> }>
  log: Log
  now: () => number
  after?: After
}

export function createWarmUp({
  turn,
  library,
  isBusy,
  most,
  claim,
  log,
  now,
  after = realAfter,
}: WarmUpParts): WarmUp {
  /** Wanted longest first. */
  const wanted = new Set<string>()
  /** The version that was read, by character. */
  const read = new Map<string, number>()
  let isClosed = false
  let cancel = (): void => undefined
  let reading: { control: AbortController; ended: Promise<void> } | undefined

  function plan(ms: number): void {
    cancel()
    if (isClosed || reading !== undefined) return
    cancel = after(ms, () => {
      const [id] = wanted
      if (id === undefined) return
      if (isBusy()) plan(LATER_MS)
      else begin(id)
    })
  }

  function begin(id: string): void {
    const control = new AbortController()
    wanted.delete(id)
    const ended = warm(id, control.signal)
      .catch((thrown: unknown) => {
        if (control.signal.aborted && !isClosed) wanted.add(id)
        else log.info({ character: id, errorCode: toAppError(thrown).code }, 'its persona was not read ahead')
      })
      .finally(() => {
        reading = undefined
        if (wanted.size > 0) plan(control.signal.aborted ? LATER_MS : 0)
      })
    reading = { control, ended }
  }

  async function warm(id: string, signal: AbortSignal): Promise<void> {
    const version = await library.published(id)
    if (version === undefined || read.get(id) === version.number) return
    const { isOurs, end } = await claim(`${id}@${String(version.number)}`)
    try {
      if (isOurs) for await (const _ of turn(askOf(id, createId(now())), signal, undefined));
    } catch (thrown) {
      await end()
      throw thrown
    }
    read.set(id, version.number)
  }

  return {
    want(id) {
      if (most === 0) return
      wanted.delete(id)
      wanted.add(id)
      for (const oldest of wanted) {
        if (wanted.size <= most) break
        wanted.delete(oldest)
      }
      plan(SOON_MS)
    },
    stepAside() {
      reading?.control.abort()
    },
    async close() {
      isClosed = true
      cancel()
      reading?.control.abort()
      await reading?.ended
    },
  }
}

/** As a person would ask who has said nothing yet. */
const askOf = (character: string, requestId: string): Ask => ({
  ...{ requestId, model: character, keyId: 'warm-up', surface: 'open-webui', isWarmUp: true },
  messages: [{ role: 'user', content: [{ type: 'text', text: '' }] }],
  ...{ stream: false, sampling: {}, tools: [], extra: {}, conversation: {} },
})
