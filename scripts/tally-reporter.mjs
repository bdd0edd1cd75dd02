/** Tells `scripts/test.mjs` what vitest counted, in the file that TROUPE_TALLY_FILE names; the JSON reporter drops reasons. */
import { writeFileSync } from 'node:fs'
import path from 'node:path'

/** @typedef {{ file: string, reason: string }} Skip */
/** @typedef {{ passed: number, failed: number, skipped: Skip[] }} Tally */

export default class TallyReporter {
  /**
   * @param {readonly import('vitest/node').TestModule[]} modules
   * @param {readonly unknown[]} unhandled errors outside of any test
   */
  onTestRunEnd(modules, unhandled) {
    const target = process.env.TROUPE_TALLY_FILE
    if (target === undefined) return
    /** @type {Tally} */
    const tally = { passed: 0, failed: unhandled.length, skipped: [] }
    for (const module of modules) {
      const file = path.relative(process.cwd(), module.moduleId)
      for (const test of module.children.allTests()) {
        const result = test.result()
        if (result.state === 'passed') tally.passed += 1
        else if (result.state === 'failed') tally.failed += 1
        else tally.skipped.push({ file, reason: reasonOf(test) })
      }
      // Files that could not be loaded and hooks that failed have no test of their own to show for it.
      tally.failed += module.errors().length
      for (const suite of module.children.allSuites()) tally.failed += suite.errors().length
    }
    writeFileSync(target, JSON.stringify(tally))
  }
}

/**
 * What `context.skip(reason)` was given; else the outermost name, which says what a `describe.skipIf` is about.
 *
 * @param {import('vitest/node').TestCase} test
 */
function reasonOf(test) {
  const result = test.result()
  return ('note' in result ? result.note : undefined) ?? test.fullName.split(' > ')[0] ?? test.name
}
