/** The command line. It talks to a running sidecar over HTTP, so it works the same on the machine and from afar. */
import type { Writable } from 'node:stream'
import { parseArgs } from 'node:util'

import { AppError, toAppError } from '#base/errors.ts'

import { openAdminApi } from './admin-api.ts'
import type { Command, LocalHouse } from './command.ts'
import { COMMANDS } from './commands.ts'
import { fileFault } from './files.ts'
import { keptAdminKey } from './kept-secrets.ts'
import { createScreen } from './screen.ts'
import { surplusWords } from './words.ts'

/** Exit codes: 0 done, 1 something failed, 2 the command line is wrong. */
const EXIT_FAILED = 1
const EXIT_USAGE = 2

/** All commands by their names, or those of one topic with what they take. */
function usage(topic: string | undefined): string {
  const ofTopic = COMMANDS.filter(({ name }) => topic !== undefined && name.startsWith(`${topic} `))
  const width = Math.max(...COMMANDS.map(({ name }) => name.length))
  const commands =
    ofTopic.length === 0
      ? COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`)
      : ofTopic.map(({ usage, summary }) => `  ${usage}\n      ${summary}`)
  return [
    'Usage: npm run troupe -- <command> [options]',
    '',
    ...commands,
    '',
    'Every command takes --help, which tells its options, and --json (one JSON value on stdout).',
    'TROUPE_URL (default http://127.0.0.1:8787) names the sidecar, TROUPE_ADMIN_KEY a key with the scope "admin"; for a',
    'sidecar on this machine that ./scripts/up started, the one in its data folder (TROUPE_DATA_DIR) is taken.',
    '',
  ].join('\n')
}

function find(words: readonly string[]): { command: Command; rest: string[] } | undefined {
  for (const command of COMMANDS) {
    const names = command.name.split(' ')
    if (names.every((name, index) => words[index] === name))
      return { command, rest: words.slice(names.length) }
  }
  return undefined
}

export interface Terminal {
  env: NodeJS.ProcessEnv
  out: Writable & { isTTY?: boolean }
  err: Writable & { isTTY?: boolean }
  house?: () => LocalHouse
}

/** Resolves with the exit code; whatever goes wrong is a sentence on `err`. */
export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  for (const stream of [terminal.out, terminal.err]) stream.on('error', leaveQuietly)
  try {
    return await dispatch(argv, terminal)
  } catch (thrown) {
    const isUsage =
      thrown instanceof TypeError && 'code' in thrown && String(thrown.code).startsWith('ERR_PARSE_ARGS')
    terminal.err.write(`${isUsage ? thrown.message : (fileFault(thrown) ?? toAppError(thrown)).message}\n`)
    return isUsage ? EXIT_USAGE : EXIT_FAILED
  }
}

async function dispatch(
  argv: readonly string[],
  { env, out, err, house = noHouse }: Terminal,
): Promise<number> {
  const firstOption = argv.findIndex((word) => word.startsWith('-'))
  const words = firstOption === -1 ? argv : argv.slice(0, firstOption)
  const found = find(words)
  if (found === undefined) {
    const isAsked = argv.includes('--help') || argv.length === 0
    if (isAsked) out.write(usage(words[0]))
    else err.write(`Unknown command "${words.join(' ')}".\n\n${usage(words[0])}`)
    return isAsked ? 0 : EXIT_USAGE
  }
  const { command } = found
  const { values, positionals } = parseArgs({
    args: [...found.rest, ...argv.slice(words.length)],
    options: { ...command.options, json: { type: 'boolean' }, help: { type: 'boolean' } },
    allowPositionals: true,
  })
  if (values.help === true) {
    out.write(`Usage: npm run troupe -- ${command.usage}\n\n${command.summary}\n${command.details ?? ''}`)
    return 0
  }
  const surplus = surplusWords(positionals, command)
  if (surplus.length > 0) {
    err.write(`"${surplus.join(' ')}" is too much. Usage: npm run troupe -- ${command.usage}\n`)
    return EXIT_USAGE
  }
  const screen = createScreen({ json: values.json === true, out, err })
  const url = env['TROUPE_URL'] || 'http://127.0.0.1:8787'
  return command.run({
    positionals,
    values,
    get api() {
      return openAdminApi({ url, key: env['TROUPE_ADMIN_KEY'] || keptAdminKey(url, env) })
    },
    screen,
    house,
    env,
  })
}

/** Who reads has seen enough, as `head` has; what the command does goes on to its end. */
function leaveQuietly(fault: NodeJS.ErrnoException): void {
  if (fault.code !== 'EPIPE') throw fault
}

function noHouse(): never {
  throw new AppError('invalid', 'This command works on the machine of the sidecar only')
}
