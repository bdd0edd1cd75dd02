/** `scripts/test` is believed by people and machines alike: it must not lose a failure, nor its last line. */
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = path.join(import.meta.dirname, '../../..')

let folder = ''
beforeAll(async () => {
  folder = await realpath(await mkdtemp(path.join(tmpdir(), 'troupe-test-command-')))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** A tree with the real command and what the case adds to it. */
async function tree(files: Record<string, string>): Promise<string> {
  const root = await mkdtemp(path.join(folder, 'tree-'))
  await mkdir(path.join(root, 'scripts/setup'), { recursive: true })
  for (const file of ['test', 'test.mjs', 'tally-reporter.mjs', 'setup/failure.mjs', 'setup/progress.mjs']) {
    await cp(path.join(ROOT, 'scripts', file), path.join(root, 'scripts', file))
  }
  for (const [file, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, file)), { recursive: true })
    await writeFile(path.join(root, file), text, { mode: 0o755 })
  }
  return root
}

/** Everything is installed, and pytest is a program that writes one of its reports. */
const installed = {
  'scripts/setup/node-modules.mjs': `
    export const installNodePackages = async () => {}
    export const installSqliteAddon = async () => {}
    export const buildSidecar = async () => {}`,
  'scripts/setup/python.mjs': `
    export const installPythonEnvironment = async () => import.meta.dirname`,
  'scripts/setup/bin/pytest': `#!/usr/bin/env node
    require('node:fs').writeFileSync(process.argv[2].split('=')[1], ${JSON.stringify(
      // Recorded from pytest 9.2, shortened.
      '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" ' +
        'skipped="2" tests="6" time="0.025"><testcase classname="" name="tests.python.test_y" time="0.000"><skipped ' +
        "message=\"collection skipped\">('test_y.py', 2, 'Skipped: no httpx')</skipped></testcase><testcase " +
        'classname="tests.python.test_x" name="test_skip" time="0.000"><skipped type="pytest.skip" message="x">test_x.py:4: ' +
        'no &quot;such&quot; thing</skipped></testcase></testsuite></testsuites>',
    )})
    process.exit(1)`,
  'vitest.config.ts': `
    const project = (name) => ({ extends: true, test: { name, include: ['tests/' + name + '/*.test.ts'] } })
    export default { test: { projects: ['unit', 'e2e'].map(project) } }`,
}

const IMPORT = "import { beforeAll, describe, expect, test } from 'vitest'\n"
const passing = `${IMPORT}test('holds', () => { expect(1).toBe(1) })\n`
const skipping = `${IMPORT}test('needs a server', ({ skip }) => { skip('no server here') })\n`

async function run(root: string, args: string[], env: Record<string, string> = {}) {
  const child = spawn('bash', ['scripts/test', ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: folder, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, output, lastLine: output.trimEnd().split('\n').at(-1) }
}

async function withVitest(files: Record<string, string>): Promise<string> {
  const root = await tree({ ...installed, ...files })
  await symlink(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'))
  return root
}

describe.concurrent('the last line', { timeout: 30_000 }, () => {
  test('is there when every step breaks', async () => {
    const { code, lastLine } = await run(await tree({}), ['unit'])
    expect({ code, lastLine }).toEqual({ code: 1, lastLine: 'tests: 0 passed, 3 failed' })
  })

  test('is there when the arguments are wrong', async () => {
    const { code, lastLine } = await run(await tree({}), ['nonsense'])
    expect({ code, lastLine }).toEqual({ code: 1, lastLine: 'tests: 0 passed, 1 failed' })
  })

  test('counts tests, files that do not load and hooks that fail, of vitest and pytest', async () => {
    const root = await withVitest({
      'tests/unit/passing.test.ts': passing,
      'tests/unit/failing.test.ts': `${IMPORT}test('does not hold', () => { expect(1).toBe(2) })\n`,
      'tests/unit/broken.test.ts': "import './gone.ts'\n",
      'tests/unit/hook.test.ts': `${IMPORT}describe('with a server', () => {
        beforeAll(() => { throw new Error('no server') })
        test('is not reached', () => {})
      })`,
      'tests/unit/skipping.test.ts': skipping,
      'tests/python/test_x.py': '',
    })
    const { code, lastLine, output } = await run(root, ['unit'])
    expect({ code, lastLine }).toEqual({ code: 1, lastLine: 'tests: 3 passed, 5 failed, 4 skipped' })
    expect(output).toContain('skipped: 1 in tests/unit/skipping.test.ts: no server here\n')
    expect(output).toContain('skipped: 1 in tests.python.test_x: test_x.py:4: no "such" thing\n')
  })

  test('counts the tests with real servers, which run beside the others and are told of behind them', async () => {
    const meet = (
      mine: string,
      theirs: string,
    ) => `${IMPORT}import { access, writeFile } from 'node:fs/promises'
      test('runs while ${theirs} does', async () => {
        await writeFile('${mine}.begun', '')
        await expect.poll(() => access('${theirs}.begun').then(() => true, () => false), { timeout: 20_000 }).toBe(true)
      }, 20_000)`
    const root = await withVitest({
      'tests/unit/meets.test.ts': meet('unit', 'e2e'),
      'tests/e2e/meets.test.ts': meet('e2e', 'unit'),
      'tests/e2e/failing.test.ts': `${IMPORT}test('does not hold', () => { expect(1).toBe(2) })\n`,
    })
    const { code, lastLine, output } = await run(root, [])
    expect({ code, lastLine }).toEqual({ code: 1, lastLine: 'tests: 2 passed, 1 failed' })
    expect(output.indexOf('tests/e2e/failing.test.ts')).toBeGreaterThan(
      output.indexOf('tests/unit/meets.test.ts'),
    )
  })

  test('counts every error outside of any test', async () => {
    const stray = `${passing}for (const ms of [1, 2]) setTimeout(() => { throw new Error('stray') }, ms)
      test('waits', () => new Promise((resolve) => setTimeout(resolve, 20)))`
    const { code, lastLine } = await run(await withVitest({ 'tests/unit/stray.test.ts': stray }), ['unit'])
    expect({ code, lastLine }).toEqual({ code: 1, lastLine: 'tests: 2 passed, 2 failed' })
  })

  test('says skipped, which is fine on a laptop and a failure in CI', async () => {
    const root = await withVitest({ 'tests/unit/a.test.ts': passing, 'tests/unit/b.test.ts': skipping })
    const lastLine = 'tests: 1 passed, 0 failed, 1 skipped'
    expect(await run(root, ['unit'])).toMatchObject({ code: 0, lastLine })
    expect(await run(root, ['unit'], { CI: 'true' })).toMatchObject({ code: 1, lastLine })
  })
})
