/** The composition root: opens what holds resources, joins the parts, and closes everything in the opposite order. */
import { mkdir } from 'node:fs/promises'

import { getRequestListener } from '@hono/node-server'

import { openRecorder } from '#analytics/recorder.ts'
import { findLoads } from '#analytics/loads.ts'
import { findRecord, recentCharacters } from '#analytics/queries.ts'
import { openFigures } from '#analytics/thread.ts'
import { remembering } from '#base/cache.ts'
import { AppError, codeOf } from '#base/errors.ts'
import { pseudonym } from '#base/ids.ts'
import { createLog, type Log } from '#base/log.ts'
import { createCostOf } from '#base/prices.ts'
import { createVault } from '#base/vault.ts'
import { createEmbedTexts } from '#chat/embed-texts.ts'
import { createGuestSources } from '#chat/guest-sources.ts'
import { createSampler } from '#chat/sampler.ts'
import { createSummaries } from '#chat/summary.ts'
import { createTurn, type Turn } from '#chat/turn.ts'
import { createWarmUp } from '#chat/warm-up.ts'
import { createGuesses } from '#gateway/guesses.ts'
import { createQuotasOf } from '#gateway/key-quotas.ts'
import { createKeys } from '#gateway/keys.ts'
import { createLimits } from '#gateway/limits.ts'
import { createPageSessions } from '#gateway/page-sessions.ts'
import { createRoles } from '#gateway/roles.ts'
import { openUsage } from '#gateway/usage.ts'
import { passOver } from '#http/body.ts'
import { answerPreflight, isPreflight } from '#http/cors.ts'
import { createDraining } from '#http/draining.ts'
import { httpStatusOf } from '#http/errors.ts'
import { doors } from '#http/routes.ts'
import { prepareModelList } from '#http/v1/models.ts'
import { openKv } from '#kv/open.ts'
import { createExams } from '#knowledge/exam.ts'
import { createLoading } from '#knowledge/loading.ts'
import { openKnowledgeSearch } from '#knowledge/open.ts'
import { openKnowledge, type KnowledgeParts } from '#knowledge/open-knowledge.ts'
import { createRebuilding } from '#knowledge/rebuilding.ts'
import { createNoteAction } from '#library/audit.ts'
import { openCardReader } from '#library/card-reader.ts'
import { openLibrary } from '#library/characters.ts'
import { followChanges } from '#library/following.ts'
import { openLorebooks } from '#library/lorebooks.ts'
import { exportArchive } from '#library/export-archive.ts'
import { openImportJobs } from '#library/import-jobs.ts'
import { keepUp } from '#library/upkeep.ts'
import { createSessions } from '#openwebui/session.ts'
import { createGuard } from '#outgoing/guard.ts'
import { openPrivacy, type Privacy } from '#privacy/privacy.ts'
import { openProvider } from '#providers/index.ts'
import { createPool } from '#providers/pool.ts'
import type { Provider } from '#providers/provider.ts'
import { openUpstreams, type Upstreams } from '#providers/upstreams.ts'
import type { EmbedTexts } from '#rag/embedder.ts'
import { cleanText } from '#rag/clean.ts'
import { openStore } from '#store/open.ts'
import { openOutbox } from '#store/outbox.ts'
import { checkHealth } from '#telemetry/health.ts'
import { createPrometheus } from '#telemetry/prometheus.ts'
import { openTracing } from '#telemetry/tracing.ts'
import { openWebhooks } from '#webhooks/webhooks.ts'

import type { Config } from './config.ts'
import { openDesk } from './desk.ts'
import { loadPlugins } from './plugins.ts'
import { keepSecret } from './secret.ts'
import { listen, openServer } from './server.ts'

export interface App {
  log: Log
  listen(): Promise<{ url: string }>
  /** Sends newcomers away, lets running answers finish for at most `drainMs`, ends them in order, then closes everything. */
  close(drainMs?: number): Promise<void>
  /** A close that waits for answers ends them now. */
  hurry(): void
}

export interface AppOptions {
  /** Folder of the built pages. */
  webDir: string
  log?: Log
  now?: () => number
  /** Another way to read documents than in a process of their own. */
  readDocument?: KnowledgeParts['read']
}

const CONNECT_MS = 2_000

/** One for each key of the API. */
const CACHE_SALTS_KEPT = 1_000

/** Another process may be reading a document as long as it gives a sign of life; see `ReadingParts`. */
const KNOWLEDGE_LEASE_MS = 15_000

/** Processes that start together read a persona once; one that starts later may find it forgotten by the server. */
const READ_AHEAD_MS = 60_000

export async function openApp(config: Config, options: AppOptions): Promise<App> {
  const now = options.now ?? Date.now
  const log = options.log ?? createLog(config.logLevel)
  await makeDataDir(config.dataDir)
  const secret = config.pseudonymSecret ?? (await keepSecret(config.dataDir, 'pseudonym-secret'))

  const vault = createVault(
    config.fieldKeys ?? [config.pseudonymSecret ?? (await keepSecret(config.dataDir, 'field-key'))],
  )

  const connections = config.connectionsInPool
  const store = await openStore(config.databaseUrl, { connections, setting: 'DATABASE_URL' })
  // Its records can wait beside us, so it may come later.
  const analytics = await openStore(config.analyticsDatabaseUrl, {
    ...{ connections, mayBeAway: true, setting: 'ANALYTICS_DATABASE_URL', now },
  })
  // A database that is a file is as near as an outbox would be.
  const outbox = analytics.engine === 'postgres' ? await openOutbox(config.outbox) : undefined
  // Before it is known who was erased, nobody is; what came in between is found by the first replay.
  let isErased: (person: string) => boolean = () => false
  const recorder = openRecorder({
    isErased: (person) => isErased(person),
    // The roll-up of another process looks for what is new by when it was recorded.
    ...{ store: analytics, outbox, log, now: () => analytics.nowMs() },
    isStrict: config.recordsAreStrict,
    keeps: config.retention.recordDays > 0 ? (config.countsPeople ? 'all' : 'no people') : 'nothing',
  })
  const figures = openFigures(
    {
      ...{ url: config.analyticsDatabaseUrl, replicaUrl: config.analyticsReplicaUrl },
      ...{ connections, timeZone: config.timeZone, retention: config.retention },
      ...{ everyMs: ROLL_UP_EVERY_MS, mostLagMs: MOST_LAG_MS },
    },
    log,
  )
  const lorebooks = await openLorebooks({ store, now })
  const cards = openCardReader()
  const library = await openLibrary({ store, lorebooks, cards, dataDir: config.dataDir, now })
  const kv = await openKv({ url: config.redisUrl, now })
  const imports = await openImportJobs({ store, library, lorebooks, kv, dataDir: config.dataDir, log, now })
  const following =
    config.replicas > 1
      ? followChanges({
          store,
          refreshCharacter: library.refresh,
          refreshLorebook: lorebooks.refresh,
          log,
          now,
        })
      : undefined
  const guard = createGuard({ trusted: config.webhookHosts })
  const webhooks = openWebhooks({ store, vault, guard, log, now })
  library.onChange(() => webhooks.wake())
  const upstreams = openUpstreams({
    providers: await openProviders(config),
    defaultModel: config.defaultModel,
    contextTokens: config.contextTokens,
    now,
  })
  const search = await openKnowledgeSearch({
    ...{ store, databaseUrl: config.databaseUrl, connections, dataDir: config.dataDir, log, now },
    chromaUrl: config.chromaUrl,
    deployment: pseudonym(secret, 'deployment', 'chroma').slice(0, 16),
    embed: embedThrough(upstreams),
    embeddingModel: config.embeddingModel,
    rerank: config.rerank,
    deadlineMs: config.lookUpMs,
  })
  const knowledge = await openKnowledge({
    ...{ store, dataDir: config.dataDir, log, now, index: search.index, read: options.readDocument },
    nameOfCharacter: async (id) => (await library.get(id)).name,
    leaseMs: config.databaseUrl.startsWith('file:') ? 0 : KNOWLEDGE_LEASE_MS,
  })
  const plugins = await loadPlugins(config.plugins)
  const sources = {
    basesOf: knowledge.bases.of,
    retrieval: search,
    guests: createGuestSources({
      retrievers: plugins.retrievers,
      clean: (text) => cleanText(text).text,
      deadlineMs: config.lookUpMs,
      log,
    }),
  }
  const rebuilding = createRebuilding({ index: search.index, bases: knowledge.bases, log })
  const upkeep = keepUp({ library, imports, knowledge, log })
  const pool = createPool({
    now,
    parallel: config.parallelCalls,
    perSecond: config.callsPerSecond,
    replicas: config.replicas,
  })
  const keys = createKeys({ store, kv, now, fixed: fixedKeys(config) })
  const roles = createRoles({ store, kv, now })
  const usage = openUsage({ store, log, now, isErased: (person) => isErased(person) })
  const costOf = createCostOf(config.prices, config.power)
  const metrics = createPrometheus({
    lanes: pool.state,
    isDegraded: () => limits.isDegraded,
    records: recorder.state,
  })
  const limits = createLimits({
    house: config.limits,
    kv,
    usage,
    costOf,
    replicas: config.replicas,
    now,
    onRefused: metrics.refused,
  })
  const tracer = await openTracing(config.traceEndpoint)
  const summaries = createSummaries({
    kv,
    pseudonym: (kind, id) => privacy.pseudonyms.of(kind, id),
    isBuried: (kind, name) => privacy.isBuried(kind, name),
    log,
    now,
  })
  const privacy: Privacy = await openPrivacy({
    ...{ stores: { characters: store, analytics }, kv, vault, secret, dataDir: config.dataDir, log, now },
    pseudonymDays: config.pseudonymDays,
    texts: {
      async forget(who) {
        await summaries.forget(who)
        // Sessions of the pages, and counts of limits.
        if (who.persons.length > 0) await kv.forget(who.persons)
      },
      texts: (persons) => summaries.texts(persons),
    },
  })
  isErased = (person) => privacy.isBuried('person', person)
  const named = privacy.pseudonyms.of
  const desk = openDesk({
    ...{ config, library, upstreams, keys, recorder, privacy, kv, log, now },
    ...{ characters: store, analytics },
  })

  const turn = createTurn({
    library,
    lorebooks,
    summaries,
    sources,
    upstreams,
    pool,
    taskModel: config.taskModel,
    diceSecret: secret,
    timeZone: config.timeZone,
    record: recorder.add,
    admit: recorder.admit,
    metrics,
    pseudonym: named,
    httpStatusOf,
    costOf: ({ model, ...used }) => costOf(model, used),
    isHidden: privacy.isHidden,
    sampler: createSampler({ samples: privacy.samples, isHidden: privacy.isHidden, pseudonym: named, log }),
    cacheSalt: remembering(CACHE_SALTS_KEPT, (domain) => pseudonym(secret, 'cache', domain)),
    now,
  })
  const isAtWork = () => pool.state().some(({ running, waiting }) => running + waiting > 0)
  const isThere = () => upstreams.state().some(({ healthy }) => healthy)
  const isBusy = () => isAtWork() || !isThere()
  const warmUp = createWarmUp({
    turn,
    library,
    isBusy,
    most: config.warmCharacters,
    async claim(version) {
      const key = `read ahead ${version}`
      const begun = await kv.increment(key, READ_AHEAD_MS)
      return { isOurs: begun === 1, end: () => kv.delete(key) }
    },
    log,
    now,
  })
  library.onChange(warmUp.want)
  const turnOfPerson: Turn = (ask, signal, ticket) => {
    warmUp.stepAside()
    return turn(ask, signal, ticket)
  }

  const draining = createDraining({ log, visits: metrics, tracer, now })
  const { generation, app } = doors({
    turn: turnOfPerson,
    embedTexts: createEmbedTexts({
      ...{ upstreams, record: recorder.add, metrics, httpStatusOf, now },
      ...{ pseudonym: named, isHidden: privacy.isHidden },
    }),
    library,
    lorebooks,
    cards,
    summaries,
    imports,
    knowledge,
    sources,
    exams: createExams({ store, retrieval: search, index: search.index, now }),
    loading: createLoading({ loaders: plugins.loaders, ...knowledge }),
    rebuilding,
    exportArchive: () => exportArchive({ library, lorebooks }),
    upstreams,
    taskModel: config.taskModel,
    diceSecret: secret,
    timeZone: config.timeZone,
    keys,
    quotasOf: createQuotasOf({ house: config.limits, usage, now }),
    roles,
    noteAction: createNoteAction(store, now),
    limits,
    pseudonym: (_kind, id) => privacy.pseudonyms.lasting(id),
    pageSessions: createPageSessions({ kv, now }),
    guesses: createGuesses({ kv, now, nameOf: (address) => pseudonym(secret, 'address', address) }),
    sessions: config.openWebUi && createSessions({ openWebUiUrl: config.openWebUi.url, now }),
    findRecord: (id) => findRecord(analytics, id),
    findLoads: (sinceMs) => findLoads(analytics, sinceMs),
    figures,
    addRating: recorder.addRating,
    health: () =>
      checkHealth({
        isLeaving: draining.hasBegun,
        stores: { characters: store },
        records: {
          ...{ state: recorder.state, store: analytics },
          hasOutbox: outbox !== undefined,
          isStrict: config.recordsAreStrict,
        },
        redis: kv.isShared ? kv : undefined,
        upstreams: upstreams.state,
        knowledge: search.index.health,
      }),
    metrics: metrics.expose,
    jwtSecrets: config.jwtSecrets,
    trustsPlainHeaders: config.trustsPlainHeaders,
    openWebUiUrl: config.openWebUi?.url ?? null,
    openWebUi: desk,
    webhooks,
    privacy,
    webDir: options.webDir,
    log,
    visits: metrics,
    tracer,
    now,
  })
  const listener = getRequestListener(app.fetch, { autoCleanupIncoming: false })
  const server = openServer((incoming, outgoing) => {
    // Never rejects: hono turns what is thrown into an answer.
    const answer = () =>
      isPreflight(incoming)
        ? answerPreflight(incoming, outgoing, keys)
        : (generation.serve(incoming, outgoing) ?? listener(incoming, outgoing))
    outgoing.once('finish', () => passOver(incoming))
    draining.serve(incoming, outgoing, answer)
  })
  prepareModelList(await library.list())
  // A first look at the model servers, so that the first question does not wait for it.
  upstreams.find(undefined).catch(() => undefined)
  const recent = await recentCharacters(analytics, config.warmCharacters).catch(() => [])
  for (const id of recent.reverse()) warmUp.want(id)

  return {
    log,
    listen: () => listen(server, config),
    hurry: draining.hurry,
    async close(drainMs = 0) {
      await draining.begin(server, drainMs)
      upkeep.stop()
      await following?.stop()
      await imports.close()
      await cards.close()
      await warmUp.close()
      await webhooks.close()
      await privacy.close()
      await guard.close()
      await desk?.close()
      await summaries.close()
      await rebuilding.stop()
      await knowledge.close()
      await search.close()
      await upstreams.close()
      await figures.close()
      await recorder.close()
      await limits.close()
      await usage.close()
      await keys.close()
      await outbox?.close()
      await tracer.close()
      await kv.close()
      await Promise.all([store.close(), analytics.close()])
    },
  }
}

/** What happened a minute ago is in the figures. */
const ROLL_UP_EVERY_MS = 60_000

/** Of the standby that figures are read from. */
const MOST_LAG_MS = 60_000

const fixedKeys = (config: Config) => [
  ...(config.connectionKey === undefined
    ? []
    : [
        {
          keyId: 'connection',
          secret: config.connectionKey,
          scopes: ['chat', 'models', 'embeddings', 'forward-user'] as const,
        },
      ]),
  ...(config.adminKey === undefined
    ? []
    : [{ keyId: 'admin', secret: config.adminKey, scopes: ['admin'] as const, role: 'owner' as const }]),
]

async function openProviders(config: Config): Promise<Provider[]> {
  const limits = { connectTimeoutMs: CONNECT_MS, ...config.callLimits }
  const keep = config.keepModelSeconds === undefined ? {} : { keepAliveSeconds: config.keepModelSeconds }
  const ollamas = config.ollamaUrls.map((baseUrl) => openProvider('ollama', { baseUrl, ...limits, ...keep }))
  const others = config.openAiServers.map(({ url, key }) =>
    openProvider('openai', { baseUrl: url, ...(key === undefined ? {} : { apiKey: key }), ...limits }),
  )
  return Promise.all([...ollamas, ...others])
}

const embedThrough =
  (upstreams: Upstreams): EmbedTexts =>
  async (name, texts, signal) => {
    const upstream = await upstreams.find(name)
    const { provider, model } = upstream
    const { contextTokens } = upstreams.profile(upstream)
    return (await provider.embed({ model: model.name, texts, contextTokens }, signal)).vectors
  }

/** Throws AppError `invalid` with the setting. */
async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const remedy = 'name a folder that this process may write to'
    const fault = `TROUPE_DATA_DIR: ${dataDir} cannot be made${codeOf(cause)}; ${remedy}`
    throw new AppError('invalid', fault, { cause })
  }
}
