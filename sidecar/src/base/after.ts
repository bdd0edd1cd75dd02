/** Waiting for later, as a value that a test can replace. */

/** Runs `action` once, `ms` from now, unless the returned function is called before. Keeps no process alive. */
export type After = (ms: number, action: () => void) => () => void

export const after: After = (ms, action) => {
  const timer = setTimeout(action, ms)
  timer.unref()
  return () => clearTimeout(timer)
}
