/**
 * Modules of others, named in PLUGINS, that bring what characters may look things up in. They run inside this process with
 * all its rights: whoever sets the environment trusts them. What they bring is text of strangers and is treated as such.
 *
 * A module exports `retrievers` (name → function or LangChain retriever, see `GuestRetriever`) and `loaders` (name →
 * function or LangChain document loader, see `GuestLoader`), or both in its default export.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'

import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { GuestRetriever } from '#chat/guest-sources.ts'
import type { GuestLoader } from '#knowledge/loading.ts'

export interface Plugins {
  retrievers: ReadonlyMap<string, GuestRetriever>
  loaders: ReadonlyMap<string, GuestLoader>
}

type AnyFunction = (...args: unknown[]) => Promise<unknown>

const callable = z.custom<AnyFunction>((value) => typeof value === 'function')
/** LangChain's own classes, told by the method that we call. */
const retriever = z.union([
  callable,
  z.custom<{ invoke: AnyFunction }>((value) => hasMethod(value, 'invoke')),
])
const loader = z.union([callable, z.custom<{ load: AnyFunction }>((value) => hasMethod(value, 'load'))])

const Brought = z.object({
  retrievers: z.record(z.string().min(1), retriever).default({}),
  loaders: z.record(z.string().min(1), loader).default({}),
})

const hasMethod = (value: unknown, name: string): boolean =>
  typeof value === 'object' && value !== null && typeof Reflect.get(value, name) === 'function'

/** Throws AppError `invalid` that names the module and what is wrong with it: a cast without its sources is no good start. */
export async function loadPlugins(modules: readonly string[]): Promise<Plugins> {
  const retrievers = new Map<string, GuestRetriever>()
  const loaders = new Map<string, GuestLoader>()
  for (const module of modules) {
    const brought = await load(module)
    for (const [name, given] of Object.entries(brought.retrievers)) {
      refuseTaken(retrievers, name, module)
      retrievers.set(name, typeof given === 'function' ? given : (...asked) => given.invoke(...asked))
    }
    for (const [name, given] of Object.entries(brought.loaders)) {
      refuseTaken(loaders, name, module)
      loaders.set(name, typeof given === 'function' ? given : () => given.load())
    }
  }
  return { retrievers, loaders }
}

async function load(module: string): Promise<z.infer<typeof Brought>> {
  // A path is a file; anything else is a package that lies beside us.
  const isFile = /^[./]|\.m?js$/.test(module)
  let loaded: unknown
  try {
    loaded = await import(isFile ? pathToFileURL(path.resolve(module)).href : module)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'it cannot be read'
    throw new AppError('invalid', `PLUGINS: ${module} does not load: ${reason}`, { cause })
  }
  const brought = Brought.safeParse(hasDefault(loaded) ? loaded.default : loaded)
  if (brought.success && isSomething(brought.data)) return brought.data
  throw new AppError(
    'invalid',
    `PLUGINS: ${module} brings nothing; let it export "retrievers" or "loaders": names with functions or LangChain objects`,
  )
}

const hasDefault = (module: unknown): module is { default: unknown } =>
  typeof module === 'object' && module !== null && 'default' in module

const isSomething = ({ retrievers, loaders }: z.infer<typeof Brought>): boolean =>
  Object.keys(retrievers).length + Object.keys(loaders).length > 0

function refuseTaken(known: ReadonlyMap<string, unknown>, name: string, module: string): void {
  if (!known.has(name)) return
  throw new AppError(
    'invalid',
    `PLUGINS: ${module} brings "${name}", which another plugin brings already; rename one`,
  )
}
