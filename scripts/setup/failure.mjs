/** A failure that the person at the terminal can mend: what happened, what to do, and where to read more. */
export class SetupError extends Error {
  /**
   * @param {string} message What happened, in one sentence.
   * @param {{ remedy?: string, logFile?: string, cause?: unknown }} [more]
   */
  constructor(message, { remedy, logFile, cause } = {}) {
    super(message, { cause })
    this.name = 'SetupError'
    this.remedy = remedy
    this.logFile = logFile
  }
}

/**
 * The failure as lines for a terminal.
 *
 * @param {unknown} thrown
 */
export function describeFailure(thrown) {
  if (!(thrown instanceof SetupError))
    return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  const lines = [thrown.message]
  if (thrown.cause instanceof Error) lines.push(`Because: ${thrown.cause.message}`)
  if (thrown.remedy !== undefined) lines.push(`What to do: ${thrown.remedy}`)
  if (thrown.logFile !== undefined) lines.push(`Log: ${thrown.logFile}`)
  return lines.join('\n')
}
