/** Rules of the stream: a failure before the first item is thrown, silence afterwards becomes a beat. */

/** Stands for "nothing came for a while". */
export const BEAT = Symbol('beat')

/**
 * Waits up to `graceMs` for the first item, so that a refusal can still become a status, then hands out the items and,
 * whenever `beatMs` pass in silence, a BEAT. Leaving the loop ends the source. Timers never outlive the loop.
 */
export async function primed<T>(
  source: AsyncGenerator<T, void, undefined>,
  graceMs: number,
  beatMs: number,
): Promise<AsyncGenerator<T | typeof BEAT, void, undefined>> {
  let next = source.next()
  await quietly(next, graceMs)
  return (async function* () {
    try {
      for (;;) {
        const got = await quietly(next, beatMs)
        if (got === BEAT) {
          yield BEAT
          continue
        }
        if (got.done === true) return
        yield got.value
        next = source.next()
      }
    } finally {
      // The item in flight has no reader any more; its failure was the source's own way of stopping.
      next.catch(() => undefined)
      await source.return()
    }
  })()
}

async function quietly<T>(promise: Promise<T>, ms: number): Promise<T | typeof BEAT> {
  let timer: NodeJS.Timeout | undefined
  const silence = new Promise<typeof BEAT>((resolve) => {
    timer = setTimeout(resolve, ms, BEAT)
  })
  try {
    return await Promise.race([promise, silence])
  } finally {
    clearTimeout(timer)
  }
}
