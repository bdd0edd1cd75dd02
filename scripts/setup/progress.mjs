/**
 * Says what is going on while several steps run side by side: one line that changes on a terminal, plain lines elsewhere.
 * Steps that are over within two seconds stay silent.
 */
const SILENT_MS = 2_000
/** How often a step that goes on is mentioned again where lines cannot be changed. */
const REMIND_MS = 15_000
const REDRAW_MS = 200
const CLEAR_LINE = '\r\u001B[2K'

/**
 * @typedef {object} Progress
 * @property {<T>(name: string, work: () => Promise<T> | T) => Promise<T>} step Runs `work` and shows it under `name`.
 * @property {(line: string) => void} say Prints a line that stays.
 * @property {() => void} close Nothing is shown any more: what still runs is being stopped.
 */

/**
 * @param {{ stream?: Pick<NodeJS.WriteStream, 'write' | 'isTTY' | 'columns'>, now?: () => number }} [options]
 * @returns {Progress}
 */
export function createProgress({ stream = process.stdout, now = Date.now } = {}) {
  const isTerminal = stream.isTTY === true
  /** Start of each running step, in ms. @type {Map<string, number>} */
  const running = new Map()
  /** @type {NodeJS.Timeout | undefined} */
  let redrawing
  let isClosed = false

  /** @param {string} name */
  const seconds = (name) => Math.round((now() - (running.get(name) ?? now())) / 1_000)
  const draw = () => {
    if (isClosed) return
    const steps = [...running.keys()].map((name) => `${name} ${seconds(name)} s`).join(' · ')
    stream.write(`${CLEAR_LINE}${steps.slice(0, (stream.columns || 80) - 1)}`)
  }
  /** @param {string} line */
  const say = (line) => {
    if (isClosed) return
    stream.write(isTerminal ? `${CLEAR_LINE}${line}\n` : `${line}\n`)
    if (isTerminal && running.size > 0) draw()
  }

  /**
   * @param {string} name
   * @returns {() => void} stops showing
   */
  const show = (name) => {
    if (isTerminal) {
      redrawing ??= setInterval(draw, REDRAW_MS)
      return () => {
        if (running.size > 0) return
        clearInterval(redrawing)
        redrawing = undefined
        if (!isClosed) stream.write(CLEAR_LINE)
      }
    }
    let reminder = setTimeout(() => {
      say(`  ${name} …`)
      reminder = setInterval(() => say(`  ${name} … ${seconds(name)} s`), REMIND_MS)
    }, SILENT_MS)
    return () => clearTimeout(reminder)
  }

  return {
    say,
    close() {
      if (isTerminal && running.size > 0) stream.write(CLEAR_LINE)
      isClosed = true
    },
    async step(name, work) {
      running.set(name, now())
      const hide = show(name)
      let mark = '✗'
      try {
        const result = await work()
        mark = '✓'
        return result
      } finally {
        const tookMs = now() - (running.get(name) ?? now())
        const line = `${mark} ${name} (${Math.round(tookMs / 1_000)} s)`
        running.delete(name)
        hide()
        if (mark === '✗' || tookMs > SILENT_MS) say(line)
      }
    },
  }
}
