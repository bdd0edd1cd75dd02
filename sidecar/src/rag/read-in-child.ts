/** The way to the process that reads one document (`read-child.ts`), and what is said when that had to be ended. */
import { fork, type ChildProcess } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants, setPriority } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { AppError, type ErrorCode } from '#base/errors.ts'

import type { ChunkOptions } from './chunk.ts'
import type { Chunk } from './document.ts'
import { DOCUMENT_LIMITS } from './limits.ts'
import type { PreparedDocument } from './prepare.ts'

export interface ReadingLimits {
  cpuMs: number
  wallMs: number
  memoryMb: number
  heapMb: number
}

export interface ToChild extends ReadingLimits {
  /** Where the file lies. */
  file: string
  /** What it was called. */
  name: string
  chunking: ChunkOptions
}

export type FromChild =
  | { type: 'progress'; pagesRead: number; pagesTotal: number }
  | { type: 'chunks'; chunks: Chunk[] }
  | ({ type: 'end' } & Omit<PreparedDocument, 'chunks'>)
  | { type: 'refused'; code: ErrorCode; message: string }

export interface ReadingOptions {
  signal: AbortSignal
  onProgress?: (pagesRead: number, pagesTotal: number) => void
  limits?: ReadingLimits
}

/** A little longer than the parent waits: for a child whose parent was killed. */
const ORPHAN_MS = 5_000

/** Throws AppError: `invalid` or `too_large` with what to do, `cancelled` when the signal aborts. */
export async function readInChild(
  task: Pick<ToChild, 'file' | 'name' | 'chunking'>,
  { signal, onProgress, limits = DOCUMENT_LIMITS }: ReadingOptions,
): Promise<PreparedDocument> {
  if (signal.aborted) throw cancelled()
  const child = start(limits.heapMb)
  const { cpuMs, wallMs, memoryMb, heapMb } = limits
  const chunks: Chunk[] = []
  let about: Omit<PreparedDocument, 'chunks'> | undefined
  let failure: AppError | undefined
  const end = (error: AppError) => {
    failure ??= error
    child.kill('SIGKILL')
  }
  const abort = () => end(cancelled())
  const timer = setTimeout(() => end(tooSlow(wallMs)), wallMs)
  signal.addEventListener('abort', abort)
  try {
    const exit = ended(child)
    child.on('message', (message: FromChild) => {
      if (message.type === 'progress') onProgress?.(message.pagesRead, message.pagesTotal)
      else if (message.type === 'chunks') chunks.push(...message.chunks)
      else if (message.type === 'refused') failure ??= new AppError(message.code, message.message)
      else {
        const { type: _end, ...rest } = message
        about = rest
      }
    })
    child.send(
      { ...task, cpuMs, wallMs: wallMs + ORPHAN_MS, memoryMb, heapMb } satisfies ToChild,
      () => undefined,
    )
    await exit
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
  if (failure !== undefined) throw failure
  if (about === undefined) throw child.signalCode === 'SIGXCPU' ? tooSlow(cpuMs) : tooMuch(memoryMb)
  return { ...about, chunks }
}

/** From source the child needs what this process was started with; built, it lies beside the bundle. */
const IS_SOURCE = import.meta.url.endsWith('.ts')
const ENTRY = new URL(IS_SOURCE ? './read-child.ts' : './read-child.js', import.meta.url)

/** Without the environment: no secret is in a process that reads what strangers wrote. */
function start(heapMb: number): ChildProcess {
  const loader = IS_SOURCE
    ? ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href]
    : []
  const child = fork(fileURLToPath(ENTRY), [], {
    execArgv: [`--max-old-space-size=${heapMb}`, ...loader],
    env: {},
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization: 'advanced',
  })
  try {
    // Who waits for an answer comes first.
    if (child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW)
  } catch {
    // It has ended already, which `ended` tells.
  }
  return child
}

const ended = (child: ChildProcess): Promise<void> =>
  new Promise((resolve, reject) => {
    child.once('close', () => resolve())
    child.once('error', (cause) => {
      reject(new AppError('unavailable', 'No process could be started to read the document', { cause }))
    })
  })

const cancelled = () => new AppError('cancelled', 'The reading was stopped')
const tooSlow = (ms: number) =>
  new AppError(
    'too_large',
    `The document could not be read within ${ms / 1_000} s; save it anew, or in parts`,
  )
const tooMuch = (memoryMb: number) =>
  new AppError(
    'too_large',
    `Reading the document takes more than ${memoryMb} MB of memory; save it anew, or in parts`,
  )
