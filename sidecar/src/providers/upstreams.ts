/** Which server has which base model, what each model can take, and what its token counts taught us. */
import { countAsked } from '#base/cache.ts'
import { AppError } from '#base/errors.ts'
import type { ModelProfile } from '#prompt/prompt.ts'

import { profileOf } from './model-profiles.ts'
import type { BaseModel, LoadedModel, ModelMaker, Provider } from './provider.ts'

export interface Upstream {
  provider: Provider
  model: BaseModel
}

export interface UpstreamState {
  name: string
  kind: string
  healthy: boolean
  models: string[]
}

export interface LoadedAt extends LoadedModel {
  server: string
  /** The window that we ask for; another one in memory means that somebody else asks for it too. Absent for models that are not listed. */
  askedTokens?: number
}

export interface Upstreams {
  /**
   * The server that has this model; without a name the default model, else the first one that chats.
   * Throws AppError `model_not_found` or, when no server answers, `unavailable`.
   */
  find(model: string | undefined): Promise<Upstream>
  /** As `find`, with every server that has it. */
  all(model: string | undefined): Promise<Upstream[]>
  /** Equal for all servers of the model: its smallest window counts, so that any of them can answer. */
  profile(upstream: Upstream): ModelProfile
  /** Asks the server how many tokens the text is, once, where it tells. Never throws; later profiles know the number. */
  measure(upstream: Upstream, text: string): Promise<void>
  /**
   * Learns from a finished call without pictures. The ratio only rises, in steps and up to a bound, so that budgets (and with
   * them prefixes) stay put.
   */
  learn(model: string, estimatedTokens: number, reportedTokens: number): void
  state(): UpstreamState[]
  /** The base models of all servers, as they are now. */
  baseModels(): Promise<(BaseModel & { server: string })[]>
  /** What the servers that tell have in memory now; one that does not answer is left out. */
  loaded(): Promise<LoadedAt[]>
  /** Where models can be made: the first server of that kind, or the one of this name. Throws AppError `not_found`. */
  maker(server: string | undefined): ModelMaker
  close(): Promise<void>
}

export interface UpstreamsOptions {
  providers: readonly Provider[]
  defaultModel: string | undefined
  /**
   * Upper bound of the window asked for; a model with a smaller one keeps its own. Undefined takes what is sensible for a
   * model that is known by its name.
   */
  contextTokens: number | undefined
  now: () => number
  /** How long a list of models is believed, in milliseconds. */
  refreshMs?: number
}

/** Room for a persona, its lore and a chat, that a home machine can hold. */
const USUAL_CONTEXT_TOKENS = 8_192

/** The name of a registry may have a port. */
const HAS_TAG = /:[^/]*$/

/** Where their addresses stand. */
const SETTINGS: Readonly<Record<string, string>> = {
  ollama: 'OLLAMA_BASE_URL',
  openai: 'OPENAI_API_BASE_URLS (with /v1 at the end)',
}
const settingsOf = (providers: readonly Provider[]): string =>
  [...new Set(providers.map(({ kind }) => SETTINGS[kind] ?? kind))].join(' and ')

const RATIO_STEP = 0.05

/** Of a shorter prompt the marks of the chat template are too large a part to tell anything of its words. */
const LEARNED_FROM_TOKENS = 256

/** What a template says before the first message: the sentences that some put there by themselves. */
const TEMPLATE_TOKENS = 64

/** The estimate is half too low at worst (`tests/e2e/context.test.ts`); whoever reports more counts something else. */
const LARGEST_RATIO = 2.5
const LIST_TIMEOUT_MS = 5_000
const COUNT_TIMEOUT_MS = 2_000

/** Prefixes of characters and persons; the ones asked for longest ago are forgotten. */
const COUNTS_KEPT = 1_000

interface Known {
  models: BaseModel[]
  healthy: boolean
}

export function openUpstreams(options: UpstreamsOptions): Upstreams {
  const { providers, now, refreshMs = 30_000 } = options
  const known = new Map<Provider, Known>()
  const ratios = new Map<string, number>()
  /** By model and text; undefined while the server is asked, and where it does not tell. */
  const counts = new Map<string, Map<string, number | undefined>>()
  const countsOf = (model: string) => {
    const known = counts.get(model) ?? new Map<string, number | undefined>()
    counts.set(model, known)
    return known
  }
  const closing = new AbortController()
  // Without a chat as well, so that a server that died or came back is known before the next one.
  const looking = setInterval(() => void refresh(), refreshMs).unref()
  let listedAtMs = Number.NEGATIVE_INFINITY
  let listing: Promise<void> | undefined

  async function list(provider: Provider): Promise<void> {
    try {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(LIST_TIMEOUT_MS)])
      known.set(provider, { models: await provider.models(signal), healthy: true })
    } catch {
      // A server that is down keeps the models it had: a request to them names the real fault.
      known.set(provider, { models: known.get(provider)?.models ?? [], healthy: false })
    }
    byName = new Map()
  }

  async function refresh(): Promise<void> {
    listing ??= Promise.all(providers.map(list)).then(() => {
      listedAtMs = now()
      listing = undefined
    })
    await listing
  }

  function lookup(name: string | undefined): Upstream[] {
    const wanted = name ?? options.defaultModel ?? firstThatChats()
    if (wanted === undefined) return []
    const found = named(wanted)
    // Ollama lists its models with a tag, people name them without.
    return found.length > 0 || HAS_TAG.test(wanted) ? found : named(`${wanted}:latest`)
  }

  /** Of the lists as they are; asked for several times in a turn. */
  let byName = new Map<string, Upstream[]>()
  function named(wanted: string): Upstream[] {
    const before = byName.get(wanted)
    if (before !== undefined) return before
    const found: Upstream[] = []
    for (const provider of providers) {
      const model = known.get(provider)?.models.find((candidate) => candidate.name === wanted)
      if (model !== undefined) found.push({ provider, model })
    }
    if (found.length > 0) byName.set(wanted, found)
    return found
  }

  /** Those that answered when they were last asked; all of them when none did, so that the real fault is told. */
  function usable(name: string | undefined): Upstream[] {
    const found = lookup(name)
    const well = found.filter(({ provider }) => known.get(provider)?.healthy === true)
    return well.length > 0 ? well : found
  }

  const firstThatChats = () =>
    providers.flatMap((provider) => known.get(provider)?.models ?? []).find(({ chats }) => chats)?.name

  async function all(name: string | undefined): Promise<Upstream[]> {
    const stale = now() - listedAtMs > refreshMs
    const found = usable(name)
    countAsked('models', found.length > 0 && !stale)
    if (found.length > 0) {
      // A known model is used at once and the list renewed beside it; an unknown one is worth a fresh look.
      if (stale) void refresh()
      return found
    }
    await refresh()
    const fresh = usable(name)
    if (fresh.length === 0) throw missing(name)
    return fresh
  }

  function windowOf({ model: { name } }: Pick<Upstream, 'model'>): number {
    let least = options.contextTokens ?? profileOf(name)?.contextTokens ?? USUAL_CONTEXT_TOKENS
    for (const { model } of lookup(name)) least = Math.min(least, model.contextTokens ?? Infinity)
    return least
  }

  function missing(name: string | undefined): AppError {
    if (providers.length === 0) {
      return new AppError(
        'unavailable',
        'No model server is configured; set OLLAMA_BASE_URL or OPENAI_API_BASE_URLS',
      )
    }
    const states = [...known.values()]
    if (states.every((state) => !state.healthy)) {
      const names = providers.map((provider) => provider.name).join(', ')
      return new AppError(
        'unavailable',
        `No model server answers with its models (${names}); start one, or correct ${settingsOf(providers)}`,
      )
    }
    const wanted = name ?? options.defaultModel
    if (wanted === undefined) {
      return new AppError(
        'model_not_found',
        'The model servers offer no chat model; fetch one, e.g. "ollama pull llama3.2:1b"',
      )
    }
    return new AppError(
      'model_not_found',
      `No model server has the model "${wanted}"; fetch it, or choose another one`,
      { param: 'model' },
    )
  }

  return {
    all,
    async find(name) {
      const [first] = await all(name)
      if (first === undefined) throw missing(name)
      return first
    },
    profile({ model }) {
      const contextTokens = windowOf({ model })
      const knownTokens = (text: string) => counts.get(model.name)?.get(text)
      return { contextTokens, tokenRatio: ratios.get(model.name) ?? 1, knownTokens }
    },
    async measure({ provider, model }, text) {
      const known = countsOf(model.name)
      if (provider.countTokens === undefined || known.has(text)) return
      known.set(text, undefined)
      for (const oldest of known.keys()) {
        if (known.size <= COUNTS_KEPT) break
        known.delete(oldest)
      }
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(COUNT_TIMEOUT_MS)])
      const count = await provider.countTokens(model.name, text, signal).catch(() => undefined)
      if (count !== undefined) known.set(text, count)
    },
    learn(model, estimatedTokens, reportedTokens) {
      if (estimatedTokens < LEARNED_FROM_TOKENS) return
      const seen = Math.min(LARGEST_RATIO, (reportedTokens - TEMPLATE_TOKENS) / estimatedTokens)
      if (seen > (ratios.get(model) ?? 1)) ratios.set(model, Math.ceil(seen / RATIO_STEP) * RATIO_STEP)
    },
    state: () =>
      providers.map((provider) => ({
        name: provider.name,
        kind: provider.kind,
        healthy: known.get(provider)?.healthy ?? false,
        models: (known.get(provider)?.models ?? []).map((model) => model.name),
      })),
    async baseModels() {
      await refresh()
      return providers.flatMap((provider) =>
        (known.get(provider)?.models ?? []).map((model) => ({ ...model, server: provider.name })),
      )
    },
    async loaded() {
      const signal = AbortSignal.any([closing.signal, AbortSignal.timeout(LIST_TIMEOUT_MS)])
      const told = await Promise.all(
        providers.map(async (provider) => {
          const models = await provider.loaded?.(signal).catch(() => [])
          return (models ?? []).map((model) => ({ server: provider.name, ...model }))
        }),
      )
      return told.flat().map((model) => {
        const [upstream] = named(model.name)
        return { ...model, ...(upstream && { askedTokens: windowOf(upstream) }) }
      })
    },
    maker(server) {
      const able = providers.filter(({ maker }) => maker !== undefined)
      const maker = able.find(({ name }) => server === undefined || name === server)?.maker
      if (maker !== undefined) return maker
      const names = able.map(({ name }) => name).join(', ') || 'none is configured; set OLLAMA_BASE_URL'
      throw new AppError('not_found', `Models can be made on Ollama servers only (${names})`, {
        param: 'server',
      })
    },
    async close() {
      clearInterval(looking)
      closing.abort()
      await Promise.all(providers.map((provider) => provider.close()))
    },
  }
}
