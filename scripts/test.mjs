/**
 * Installs what the tests need, builds, runs vitest and pytest, and adds up what they counted. Needs nothing installed.
 * A step that breaks counts as one failure and never hides the last line, `tests: N passed, N failed`.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { describeFailure } from './setup/failure.mjs'
import { createProgress } from './setup/progress.mjs'

/** @typedef {import('./tally-reporter.mjs').Tally} Tally */

const ROOT = path.join(import.meta.dirname, '..')
/** @type {Record<string, string>} */
const ENTITIES = { quot: '"', apos: "'", lt: '<', gt: '>', amp: '&' }
/** pytest's word for "there was nothing to run". */
const NOTHING_COLLECTED = 5

/** @type {Tally & { broken: string[] }} */
const total = { passed: 0, failed: 0, skipped: [], broken: [] }
/**
 * What the tests with real servers said while the others had the word; undefined when it is theirs.
 *
 * @type {string[] | undefined}
 */
let held
/** @type {NodeJS.Signals | undefined} */
let stoppedBy
/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set()
const scratch = mkdtempSync(path.join(tmpdir(), 'troupe-tests-'))
process.on('exit', () => rmSync(scratch, { recursive: true, force: true }))

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.on(signal, () => {
    const isImpatient = stoppedBy !== undefined
    stoppedBy = signal
    // What installs ends by itself when we are gone; a test run gets the chance to stop its servers.
    if (running.size === 0 || isImpatient) {
      report()
      process.exit()
    }
    // A terminal sends SIGINT to every process of the group by itself.
    if (signal !== 'SIGINT') for (const child of running) child.kill(signal)
  })
}

// A fault of this very file; a step that breaks is caught where it is called.
process.on('uncaughtException', (error) => {
  broke('scripts/test.mjs', error.stack ?? error.message)
  report()
  process.exit()
})

await main(process.argv[2] ?? 'all')

/** @param {string} what */
async function main(what) {
  if (what === 'all' || what === 'unit' || what === 'install') {
    await install(what)
    if (what === 'all') await step('build', build)
    if (what !== 'install') {
      if (what === 'unit') await step('vitest', () => vitest(['--project', 'unit']))
      else await everything()
      if (existsSync(path.join(ROOT, 'tests/python'))) await step('pytest', pytest)
    }
  } else broke('arguments', `"${what}" is none of: unit, install`)
  if (what !== 'install' || total.failed > 0) report()
}

/**
 * Tests with real servers spend most of their time waiting for them, so the others run meanwhile: every server listens where the
 * system has a port for it, and what is timed is held to bounds for a busy machine. What they say comes together, behind what the
 * others say.
 */
async function everything() {
  held = []
  const say = (/** @type {string} */ text) =>
    void (held === undefined ? process.stdout.write(text) : held.push(text))
  const withServers = step('vitest e2e', () => vitest(['--project', 'e2e'], say))
  await step('vitest', () => vitest(['--project', '!e2e', '--coverage']))
  tellHeld()
  await withServers
}

function tellHeld() {
  process.stdout.write(held?.join('') ?? '')
  held = undefined
}

/**
 * Side by side, since most of it is waiting. The modules are loaded late, so that a fault in one is a step that breaks and
 * not the end of this program.
 *
 * @param {string} what
 */
async function install(what) {
  const progress = createProgress()
  const needed = [
    step('Node packages', async () => {
      const { installNodePackages, installSqliteAddon } = await import('./setup/node-modules.mjs')
      await progress.step('Node packages', installNodePackages)
      await progress.step('SQLite', installSqliteAddon)
    }),
    step('Python tools', () => progress.step('Python tools', devTools)),
  ]
  await Promise.all(what === 'unit' ? needed : [...needed, ...realParts(progress)])
}

/**
 * The real servers of the e2e tests. What cannot be installed here is named; its tests skip themselves.
 *
 * @param {import('./setup/progress.mjs').Progress} progress
 */
function realParts(progress) {
  /**
   * @param {string} name
   * @param {() => Promise<unknown>} get
   */
  const part = async (name, get) => {
    try {
      await progress.step(name, get)
    } catch (error) {
      progress.say(`Without ${name}: ${describeFailure(error)}`)
    }
  }
  const headers = part('Debian packages', async () =>
    (await import('./setup/debian.mjs')).installDebianPackages(),
  )
  return [
    headers.then(() => part('Ollama', async () => (await import('./setup/ollama.mjs')).installOllama())),
    part('Open WebUI', async () => (await import('./setup/open-webui.mjs')).installOpenWebUi()),
    part('embedding model', async () =>
      (await import('./setup/embedding-model.mjs')).installEmbeddingModel(),
    ),
    part('Chroma', async () => (await import('./setup/chroma.mjs')).installChroma()),
    part('pgvector', async () => (await import('./setup/pgvector.mjs')).installPgvector()),
    part('model server', async () => (await import('./setup/model-server.mjs')).installModelServer()),
    part('clients', async () => (await import('./setup/clients.mjs')).installClients()),
  ]
}

async function build() {
  const { buildSidecar } = await import('./setup/node-modules.mjs')
  await createProgress().step('npm run build', buildSidecar)
}

async function devTools() {
  const { installPythonEnvironment } = await import('./setup/python.mjs')
  return installPythonEnvironment('dev-tools')
}

/**
 * @param {string} name
 * @param {() => Promise<unknown>} action
 */
async function step(name, action) {
  if (stoppedBy !== undefined) return
  try {
    await action()
  } catch (error) {
    broke(name, describeFailure(error))
  }
}

/**
 * @param {string} name
 * @param {string} reason
 */
function broke(name, reason) {
  total.failed += 1
  total.broken.push(name)
  console.error(`\n${name} failed: ${reason}`)
}

/**
 * Runs one program in the repository's root. Its output is ours, or goes to `say`. Resolves to the exit code if it is one of `fine`.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ fine?: number[], env?: Record<string, string>, say?: ((text: string) => void) | undefined }} [options]
 * @returns {Promise<number>}
 */
function run(program, args, { fine = [0], env = {}, say } = {}) {
  return new Promise((resolve, reject) => {
    const output = say === undefined ? 'inherit' : 'pipe'
    const child = spawn(program, args, {
      cwd: ROOT,
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    })
    running.add(child)
    if (say !== undefined)
      for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', say)
    child.on('error', reject)
    child.on('close', (code, signal) => {
      running.delete(child)
      if (code !== null && fine.includes(code)) resolve(code)
      else reject(new Error(`${path.basename(program)} ended with ${signal ?? `exit code ${code}`}`))
    })
  })
}

/**
 * @param {string[]} args
 * @param {(text: string) => void} [say]
 */
async function vitest(args, say) {
  const file = path.join(scratch, `vitest-${args.join('')}.json`)
  const command = [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--reporter=default',
    '--reporter=./scripts/tally-reporter.mjs',
  ]
  const code = await run(process.execPath, [...command, ...args], {
    fine: [0, 1],
    env: { TROUPE_TALLY_FILE: file },
    say,
  })
  if (!existsSync(file)) throw new Error('vitest ended before it could say what it counted')
  /** @type {Tally} */
  const tally = JSON.parse(readFileSync(file, 'utf8'))
  add(tally)
  if (code !== 0 && tally.failed === 0) {
    throw new Error('every test passed, but vitest is not content; see what it said above')
  }
}

async function pytest() {
  const file = path.join(scratch, 'pytest.xml')
  const program = path.join(await devTools(), 'bin', 'pytest')
  const code = await run(program, [`--junit-xml=${file}`], { fine: [0, 1, NOTHING_COLLECTED] })
  if (code !== NOTHING_COLLECTED) add(readJUnit(readFileSync(file, 'utf8')))
}

/**
 * pytest's own report; the few attributes that we need are written by it in a known way.
 *
 * @param {string} xml
 * @returns {Tally}
 */
function readJUnit(xml) {
  const suite = /<testsuite [^>]*>/.exec(xml)?.[0] ?? ''
  const count = (/** @type {string} */ name) => {
    const digits = new RegExp(` ${name}="(\\d+)"`).exec(suite)?.[1]
    if (digits === undefined) throw new Error(`pytest's report does not say how many ${name} there were`)
    return Number(digits)
  }
  const failed = count('failures') + count('errors')
  const skips = xml.matchAll(/<testcase classname="([^"]*)" name="([^"]*)"[^>]*><skipped[^>]*>([^<]*)</g)
  const skipped = [...skips].map(([, file = '', name = '', reason = '']) => ({
    file: file || name,
    reason: reason.replace(/&(quot|apos|lt|gt|amp);/g, (_, entity) => ENTITIES[entity] ?? ''),
  }))
  return { passed: count('tests') - failed - count('skipped'), failed, skipped }
}

/** @param {Tally} tally */
function add(tally) {
  total.passed += tally.passed
  total.failed += tally.failed
  total.skipped.push(...tally.skipped)
}

/** The last words. Only what a person has to look at stands between the runs and the last line. */
function report() {
  tellHeld()
  if (stoppedBy !== undefined) broke('stopped', `by ${stoppedBy}`)
  const { passed, failed, skipped, broken } = total
  /** @type {Map<string, number>} */
  const skips = new Map()
  for (const { file, reason } of skipped)
    skips.set(`${file}: ${reason}`, (skips.get(`${file}: ${reason}`) ?? 0) + 1)
  console.log('')
  for (const name of broken) console.log(`broken: ${name}, see above`)
  for (const [where, count] of skips) console.log(`skipped: ${count} in ${where}`)
  const isCi = process.env.CI === 'true'
  if (skipped.length > 0 && isCi) console.log('What is skipped counts as a failure here, because CI=true.')
  const rest = skipped.length > 0 ? `, ${skipped.length} skipped` : ''
  console.log(`tests: ${passed} passed, ${failed} failed${rest}`)
  process.exitCode = failed > 0 || (skipped.length > 0 && isCi) ? 1 : 0
}
