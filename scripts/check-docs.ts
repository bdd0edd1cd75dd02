/**
 * Documents rot first where they name files and commands. This finds every path and every `npm run` in the Markdown
 * of the repository that no longer leads anywhere. Run by `npm run lint`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Repository {
  /** Every file, as paths from the root with forward slashes. */
  files: readonly string[]
  /** Names of the scripts in package.json. */
  scripts: readonly string[]
  /** True for what is made later and never committed (dist/, data/ …). */
  isIgnored: (file: string) => boolean
}

export interface Fault {
  line: number
  /** What the document says. */
  named: string
  problem: 'path' | 'command'
}

/** Where a path may begin that does not begin at the root: documents of the sidecar speak of `chat/turn.ts`. */
const SOURCE_ROOTS = ['sidecar/src', 'sidecar']

/** Without one of these a bare name such as `card.json` is a word, not a file of ours. */
const SOURCE_FILE = /\.(?:ts|mjs|py|svelte|md)$/
const FILE_ENDING = /\.[a-z][a-z0-9]{0,9}$/i
const PATH_CHARACTERS = /^[\w.@+-]+(?:\/[\w.@+-]+)*\/?$/
/** `<slug>`, `{id}`, `*`, `$NAME`, `…`: from here on the path is a pattern. */
const PLACEHOLDER = /[<>{}*$…?[\]]|\.\.\./

/** The faults of one document, `document` being its path from the root. */
export function findFaults(document: string, text: string, repository: Repository): Fault[] {
  const known = index(repository.files)
  const faults: Fault[] = []
  let fenced = false
  for (const [at, line] of text.split('\n').entries()) {
    if (/^\s*(?:```|~~~)/.test(line)) {
      fenced = !fenced
      continue
    }
    const report = (named: string, problem: Fault['problem']) => faults.push({ line: at + 1, named, problem })
    for (const name of commandsIn(line))
      if (!repository.scripts.includes(name)) report(`npm run ${name}`, 'command')
    for (const { named, candidates } of pathsIn(document, line, fenced, known)) {
      if (!candidates.some((file) => known.exists(file) || repository.isIgnored(file))) report(named, 'path')
    }
  }
  return faults
}

interface Known {
  exists: (file: string) => boolean
  isTopLevel: (name: string) => boolean
  hasBaseName: (name: string) => boolean
}

function index(files: readonly string[]): Known {
  const all = new Set<string>()
  const baseNames = new Set<string>()
  for (const file of files) {
    baseNames.add(path.posix.basename(file))
    for (let part = file; part !== '.'; part = path.posix.dirname(part)) all.add(part)
  }
  return {
    exists: (file) => file === '.' || all.has(file),
    isTopLevel: (name) => all.has(name) && !name.includes('/'),
    hasBaseName: (name) => baseNames.has(name),
  }
}

function commandsIn(line: string): string[] {
  return [...line.matchAll(/\bnpm run ([\w:-]+)/g)].map((match) => match[1] ?? '')
}

interface NamedPath {
  named: string
  /** Any one of them has to exist. */
  candidates: string[]
}

function pathsIn(document: string, line: string, fenced: boolean, known: Known): NamedPath[] {
  if (fenced) return line.split(/[\s"'`=]+/).flatMap((word) => fromCode(document, word, known, true))
  const links = [...line.matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)].map((match) => match[1] ?? '')
  const images = [...line.matchAll(/\b(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? '')
  const code = [...line.matchAll(/`([^`]+)`/g)].flatMap((match) => (match[1] ?? '').split(/\s+/))
  return [
    ...[...links, ...images].flatMap((target) => fromLink(document, target)),
    ...code.flatMap((word) => fromCode(document, word, known, false)),
  ]
}

/** A link is relative to its document, and always meant as a path unless it has a scheme or is an anchor. */
function fromLink(document: string, target: string): NamedPath[] {
  if (/^(?:[a-z][a-z0-9+.-]*:|#|\/\/)/i.test(target)) return []
  const file = decodeURI(target.replace(/[?#].*$/, ''))
  const from = file.startsWith('/') ? '' : path.posix.dirname(document)
  return [{ named: target, candidates: [tidy(path.posix.join(from, file))] }]
}

/** A word of code is a path when it looks like one of ours; what it is relative to the reader sees, so we try several. */
function fromCode(document: string, word: string, known: Known, fenced: boolean): NamedPath[] {
  const named = word
    .replace(/#.*$/, '')
    .replace(/[,;:.)]+$/, '')
    .replace(/(?::\d+)+$/, '')
  const plain = untilPlaceholder(named)
  if (plain === undefined || !PATH_CHARACTERS.test(plain)) return []
  const inside = plain.replace(/^(?:\.{1,2}\/)+/, '')
  if (!inside.includes('/')) {
    const isOurs = !fenced && plain === named && SOURCE_FILE.test(inside)
    return isOurs && !known.hasBaseName(inside) ? [{ named, candidates: [inside] }] : []
  }
  const isOurs = known.isTopLevel(inside.split('/')[0] ?? '') || (!fenced && FILE_ENDING.test(inside))
  const roots = [path.posix.dirname(document), '.', ...SOURCE_ROOTS]
  return isOurs ? [{ named, candidates: roots.map((root) => tidy(path.posix.join(root, plain))) }] : []
}

/** The part of a path before its first placeholder; undefined when nothing is left to look for. */
function untilPlaceholder(named: string): string | undefined {
  const segments = named.split('/')
  const first = segments.findIndex((segment) => PLACEHOLDER.test(segment))
  if (first < 0) return named
  return first === 0 ? undefined : `${segments.slice(0, first).join('/')}/`
}

function tidy(file: string): string {
  return path.posix.normalize(file).replace(/\/$/, '')
}

function main(root: string): number {
  const git = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('git', args, {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 64 * 1024 ** 2,
    })
    // `check-ignore` answers 1 for "no".
    if (status !== 0 && args[0] !== 'check-ignore') throw new Error(`git ${args.join(' ')}: ${stderr}`)
    return { ok: status === 0, lines: stdout.split('\0').filter((line) => line !== '') }
  }
  const listed = git('ls-files', '-z', '--cached', '--others', '--exclude-standard').lines
  const files = listed.filter((file) => existsSync(path.join(root, file)))
  const manifest: unknown = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
  const repository: Repository = {
    files,
    scripts: Object.keys((manifest as { scripts?: Record<string, string> }).scripts ?? {}),
    isIgnored: (file) => !file.startsWith('..') && git('check-ignore', '-q', '--no-index', file).ok,
  }
  const documents = files.filter((file) => file.endsWith('.md'))
  let count = 0
  for (const document of documents) {
    const text = readFileSync(path.join(root, document), 'utf8')
    for (const { line, named, problem } of findFaults(document, text, repository)) {
      count += 1
      const what = problem === 'path' ? 'does not exist' : 'is not a script of package.json'
      console.error(`${document}:${String(line)}  ${named} ${what}`)
    }
  }
  console.log(`check-docs: ${String(documents.length)} documents, ${String(count)} broken references`)
  return count === 0 ? 0 : 1
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  process.exitCode = main(path.join(import.meta.dirname, '..'))
