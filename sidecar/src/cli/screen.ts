/** What the command line shows: lines and a progress bar for people, one JSON value for programs. */
import type { Writable } from 'node:stream'

export interface Screen {
  line(text: string): void
  /** A bar on a terminal, nothing elsewhere; ends with `done() === total`. */
  progress(label: string, total: number): { step(): void; end(): void }
  /** The result: printed as JSON with --json, else left to the lines. */
  result(value: unknown): void
}

const BAR_WIDTH = 24

interface ScreenOptions {
  json: boolean
  out: Writable & { isTTY?: boolean }
  err: Writable & { isTTY?: boolean }
}

export function createScreen({ json, out, err }: ScreenOptions): Screen {
  return {
    line(text) {
      if (!json) out.write(`${text}\n`)
    },
    progress(label, total) {
      let done = 0
      const visible = err.isTTY === true && total > 1
      const draw = () => {
        const filled = Math.round((done / total) * BAR_WIDTH)
        err.write(
          `\r${label} [${'#'.repeat(filled).padEnd(BAR_WIDTH, '.')}] ${String(done)}/${String(total)}`,
        )
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
