/** The promises of the architecture are lint rules; here each is broken once, in a small tree under the real configuration. */
import { ESLint } from 'eslint'
import { copyFile, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { FLOORS } from '../../../eslint.config.js'

const ROOT = path.join(import.meta.dirname, '../../..')

/** What the cases import. */
const house = {
  'base/value.ts': 'export const value = 1\n',
  'characters/card.ts':
    'export interface Card {\n  name: string\n}\nexport const card: Card = { name: "Mira" }\n',
  'prompt/compose.ts': 'export const compose = () => 1\n',
  'kv/memory.ts': 'export const memory = 1\n',
  'library/library.ts': 'export const library = 1\n',
  'analytics/recorder.ts': 'export const recorder = 1\n',
  'chat/turn.ts': 'export const turn = 1\nexport interface Turn {\n  id: string\n}\n',
  'http/routes.ts': 'export const routes = 1\n',
  'telemetry/health.ts': 'export const health = 1\n',
  'config.ts': 'export const config = 1\n',
  'app.ts': 'export const app = 1\n',
  'main.ts': 'export const main = 1\n',
}

const imports = (name: string, from: string) =>
  `import { ${name} } from '${from}'\n\nexport const probe = ${name}\n`

const FLOOR_RULE = 'import-x/no-restricted-paths'
const ENVIRONMENT = 'no-restricted-properties'

const broken: [name: string, file: string, text: string, rule: string][] = [
  ['an import of a higher floor', 'base/up.ts', imports('turn', '#chat/turn.ts'), FLOOR_RULE],
  ['the same by a relative path', 'base/up-relative.ts', imports('turn', '../chat/turn.ts'), FLOOR_RULE],
  [
    'a type of a higher floor',
    'store/up-type.ts',
    "import type { Turn } from '#chat/turn.ts'\n\nexport const probe: Turn = { id: '1' }\n",
    FLOOR_RULE,
  ],
  [
    'a lazy import of a higher floor',
    'kv/up-lazy.ts',
    "export const probe = () => import('#http/routes.ts')\n",
    FLOOR_RULE,
  ],
  ['an import of a neighbour on the floor', 'store/side.ts', imports('memory', '#kv/memory.ts'), FLOOR_RULE],
  ['a flow that imports a door', 'chat/door.ts', imports('routes', '#http/routes.ts'), FLOOR_RULE],
  [
    'knowledge that imports its neighbour',
    'library/side.ts',
    imports('recorder', '#analytics/recorder.ts'),
    FLOOR_RULE,
  ],
  ['a door that imports another door', 'http/side.ts', imports('health', '#telemetry/health.ts'), FLOOR_RULE],
  [
    'characters that import the prompt',
    'characters/prompt.ts',
    imports('compose', '#prompt/compose.ts'),
    FLOOR_RULE,
  ],
  [
    'a low file that imports the configuration',
    'gateway/config.ts',
    imports('config', '#config.ts'),
    FLOOR_RULE,
  ],
  ['a configuration that imports the app', 'plugins.ts', imports('app', '#app.ts'), FLOOR_RULE],
  [
    'an import cycle',
    'rag/ring.ts',
    "import { second } from './ring-second.ts'\n\nexport const first = (): number => second()\n",
    'import-x/no-cycle',
  ],
  [
    'the environment read below the top',
    'gateway/env.ts',
    'export const probe = process.env.HOME\n',
    ENVIRONMENT,
  ],
  ['the environment taken apart', 'kv/env.ts', 'export const { env } = process\n', ENVIRONMENT],
  [
    'the environment under another name',
    'chat/env.ts',
    imports('env', 'node:process'),
    '@typescript-eslint/no-restricted-imports',
  ],
  ['hono below http/', 'chat/hono.ts', imports('Hono', 'hono'), 'no-restricted-imports'],
  [
    'a part of hono below http/',
    'gateway/hono.ts',
    imports('serve', '@hono/node-server'),
    'no-restricted-imports',
  ],
  [
    'a clock in the pure floor',
    'prompt/clock.ts',
    'export const probe = () => Date.now()\n',
    'no-restricted-properties',
  ],
  [
    'a file read in the pure floor',
    'characters/io.ts',
    imports('readFile', 'node:fs/promises'),
    '@typescript-eslint/no-restricted-imports',
  ],
  [
    'a promise that nobody waits for',
    'kv/floating.ts',
    "export function probe(): void {\n  Promise.resolve('lost')\n}\n",
    '@typescript-eslint/no-floating-promises',
  ],
  [
    'a default export that is no driver',
    'library/default.ts',
    'export default 1\n',
    'import-x/no-default-export',
  ],
  ['a barrel file', 'library/index.ts', "export * from './library.ts'\n", 'no-restricted-syntax'],
  [
    'an object of a turn that begins with a spread and gets more',
    'prompt/budget.ts',
    'export const probe = (of: { a: number }) => ({ ...of, b: 1 })\n',
    'troupe/stable-shapes',
  ],
  ['a printed line', 'library/print.ts', "console.log('here')\n\nexport const probe = 1\n", 'no-console'],
  [
    'a disabled rule without a reason',
    'library/disabled.ts',
    "// eslint-disable-next-line no-console\nconsole.log('here')\n\nexport const probe = 1\n",
    '@eslint-community/eslint-comments/require-description',
  ],
]

const allowed: [name: string, file: string, text: string][] = [
  ['an import of a lower floor', 'library/down.ts', imports('value', '#base/value.ts')],
  ['the prompt that imports characters', 'prompt/card.ts', imports('card', '#characters/card.ts')],
  ['a driver that imports the prompt', 'providers/down.ts', imports('compose', '#prompt/compose.ts')],
  ['a flow that imports what we know', 'chat/down.ts', imports('library', '#library/library.ts')],
  ['a file of the same folder', 'chat/same.ts', imports('turn', './turn.ts')],
  [
    'the composition root, which imports everything',
    'app.ts',
    "import { routes } from '#http/routes.ts'\n\nexport const app = routes\n",
  ],
  [
    'an object of a turn that begins with a spread and replaces what is there',
    'prompt/layouts.ts',
    'export const probe = (of: { a: number }) => ({ ...of, a: 1 })\n',
  ],
  ['the environment in the configuration', 'config.ts', 'export const config = process.env.HOME\n'],
  ['the environment in the command line', 'cli/env.ts', 'export const probe = process.env.HOME\n'],
  ['hono in http/', 'http/hono.ts', imports('Hono', 'hono')],
  ['a clock outside the pure floor', 'gateway/clock.ts', 'export const probe = () => Date.now()\n'],
  ['the default export of a driver', 'providers/driver.ts', 'export default 1\n'],
  ['a printed line of the command line', 'cli/print.ts', "console.log('here')\n\nexport const probe = 1\n"],
]

let tree = ''
const found = new Map<string, (string | null)[]>()

beforeAll(async () => {
  tree = await realpath(await mkdtemp(path.join(tmpdir(), 'troupe-lint-')))
  const put = async (file: string, text: string) => {
    const full = path.join(tree, 'sidecar/src', file)
    await mkdir(path.dirname(full), { recursive: true })
    await writeFile(full, text)
  }
  await Promise.all(
    ['eslint.config.js', 'tsconfig.json', 'package.json'].map((name) =>
      copyFile(path.join(ROOT, name), path.join(tree, name)),
    ),
  )
  await symlink(path.join(ROOT, 'node_modules'), path.join(tree, 'node_modules'))
  // Our own rules.
  await symlink(path.join(ROOT, 'scripts'), path.join(tree, 'scripts'))
  for (const [file, text] of Object.entries(house)) await put(file, text)
  await put(
    'rag/ring-second.ts',
    "import { first } from './ring.ts'\n\nexport const second = (): number => first()\n",
  )
  for (const [, file, text] of [...broken, ...allowed]) await put(file, text)
  const eslint = new ESLint({ cwd: tree, cache: false })
  for (const { filePath, messages } of await eslint.lintFiles(['sidecar'])) {
    found.set(
      path.relative(path.join(tree, 'sidecar/src'), filePath),
      messages.map(({ ruleId }) => ruleId),
    )
  }
}, 60_000)

afterAll(() => rm(tree, { recursive: true, force: true }))

test.each(broken)('lint reports %s', (_, file, __, rule) => {
  expect(found.get(file)).toEqual([rule])
})

test.each(allowed)('lint accepts %s', (_, file) => {
  expect(found.get(file)).toEqual([])
})

test('every part of the sidecar stands on a floor', async () => {
  const parts = await readdir(path.join(ROOT, 'sidecar/src'))
  expect(parts.filter((part) => !FLOORS.flat().includes(part))).toEqual([])
})
