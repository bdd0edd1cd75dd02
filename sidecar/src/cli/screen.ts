/** What the command line shows: lines and a progress bar for people, one JSON value for programs. */
import type { Writable } from 'node:stream'

export interface Screen {
  line(text: string): void
  /** A bar on a terminal, nothing elsewhere; ends with `done() === total`. */
  progress(label: string, total: number): { step(): void; end(): void }
  /** The same for bytes, whose total may grow on the way. */
  bytes(label: string): { show(completedBytes: number, totalBytes: number): void; end(): void }
  /** A bar of a share from 0 to 1, with what is done at the moment behind it. */
  share(label: string): { show(share: number, step: string): void; end(): void }
  /** One line of JSON with --json, else nothing: for what is told on the way. */
  event(value: unknown): void
  /** The result: printed as JSON with --json, else left to the lines. */
  result(value: unknown): void
}

const BAR_WIDTH = 24

/** The line of a usual terminal, less the bar: one that wraps could not be cleared. */
const LONGEST_STEP = 60

/** Back to the beginning, and nothing left of a longer text. */
const CLEAR_LINE = '\r\u001B[K'

interface ScreenOptions {
  json: boolean
  out: Writable & { isTTY?: boolean }
  err: Writable & { isTTY?: boolean }
}

/** In decimal units, as registries give the sizes of models. */
export function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`
  if (bytes >= 1e6) return `${Math.round(bytes / 1e6)} MB`
  return `${Math.round(bytes / 1e3)} kB`
}

function bar(done: number, total: number): string {
  const filled = total === 0 ? 0 : Math.round((Math.min(done, total) / total) * BAR_WIDTH)
  return `[${'#'.repeat(filled).padEnd(BAR_WIDTH, '.')}]`
}

export function createScreen({ json, out, err }: ScreenOptions): Screen {
  return {
    line(text) {
      if (!json) out.write(`${text}\n`)
    },
    bytes(label) {
      const visible = err.isTTY === true
      return {
        show(completedBytes, totalBytes) {
          if (!visible) return
          const counts = totalBytes === 0 ? '' : `${sizeText(completedBytes)} of ${sizeText(totalBytes)}`
          err.write(`${CLEAR_LINE}${label} ${bar(completedBytes, totalBytes)} ${counts}`)
        },
        end() {
          if (visible) err.write('\n')
        },
      }
    },
    share(label) {
      const visible = err.isTTY === true
      return {
        show(share, step) {
          if (!visible) return
          const percent = `${Math.floor(share * 100)} %`.padStart(5)
          err.write(`${CLEAR_LINE}${label} ${bar(share, 1)} ${percent}  ${step.slice(0, LONGEST_STEP)}`)
        },
        end() {
          if (visible) err.write('\n')
        },
      }
    },
    event(value) {
      if (json) out.write(`${JSON.stringify(value)}\n`)
    },
    progress(label, total) {
      let done = 0
      const visible = err.isTTY === true && total > 1
      const draw = () => {
        err.write(`\r${label} ${bar(done, total)} ${String(done)}/${String(total)}`)
      }
      if (visible) draw()
      return {
        step() {
          done++
          if (visible) draw()
        },
        end() {
          if (visible) err.write('\n')
        },
      }
    },
    result(value) {
      if (json) out.write(`${JSON.stringify(value, null, 2)}\n`)
    },
  }
}
