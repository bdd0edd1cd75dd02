/** All doors of HTTP, put together. */
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import { matchedRoutes } from 'hono/route'

import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { EmbedTexts } from '#chat/embed-texts.ts'
import type { Scope } from '#gateway/keys.ts'
import { isRole } from '#gateway/roles.ts'
import type { Library } from '#library/library.ts'
import type { Lorebooks } from '#library/lorebooks.ts'

import { analyticsRoutes, type AnalyticsParts } from './api/analytics.ts'
import { auditRoutes, characterRoutes, pictureRoutes, type CharacterParts } from './api/characters.ts'
import { archiveRoutes, importRoutes, type ImportParts } from './api/imports.ts'
import { keyRoutes, type KeyRouteParts } from './api/keys.ts'
import {
  baseRoutes,
  chunkRoutes,
  documentRoutes,
  ownKnowledgeRoutes,
  type KnowledgeRouteParts,
} from './api/knowledge.ts'
import { examRoutes, knowledgeTestRoutes, type ExamRouteParts } from './api/knowledge-exams.ts'
import { indexRoutes, loaderRoutes, type KnowledgeSourceParts } from './api/knowledge-sources.ts'
import { eventRoutes, openWebUiRoutes, type OpenWebUiParts } from './api/openwebui.ts'
import { baseModelRoutes, type ModelParts } from './api/models.ts'
import { lorebookRoutes, type LorebookParts } from './api/lorebooks.ts'
import { previewRoutes, requestRoutes, roomRoutes, type PromptParts } from './api/prompts.ts'
import { roleRoutes, type RoleParts } from './api/roles.ts'
import { sessionRoutes, type SessionParts } from './api/sessions.ts'
import { privacyRoutes, type PrivacyParts } from './api/privacy.ts'
import { webhookRoutes, type WebhookParts } from './api/webhooks.ts'
import { AREAS } from './areas.ts'
import { audited } from './audited.ts'
import type { AuthParts } from './auth.ts'
import type { AppEnv } from './env.ts'
import { errorAnswer } from './errors.ts'
import { healthRoutes, type HealthParts } from './health.ts'
import { describeApi, pathOf, type Area } from './openapi.ts'
import { permissions } from './permissions.ts'
import { pageRoutes } from './pages.ts'
import { chatHandler, type ChatParts } from './v1/chat.ts'
import { completionHandler } from './v1/completions.ts'
import { createDoor } from './v1/door.ts'
import { embeddingHandler } from './v1/embeddings.ts'
import { modelRoutes } from './v1/models.ts'
import { responsesHandler } from './v1/responses.ts'
import { usageRoutes } from './v1/usage.ts'
import { beginVisit, type VisitParts } from './visit.ts'

export interface RouteParts
  extends
    AuthParts,
    AnalyticsParts,
    CharacterParts,
    ImportParts,
    LorebookParts,
    KnowledgeRouteParts,
    KnowledgeSourceParts,
    ExamRouteParts,
    PromptParts,
    Pick<ModelParts, 'findLoads' | 'now'>,
    HealthParts,
    ChatParts,
    OpenWebUiParts,
    KeyRouteParts,
    RoleParts,
    SessionParts,
    PrivacyParts,
    WebhookParts {
  keys: KeyRouteParts['keys']
  roles: RoleParts['roles']
  knowledge: KnowledgeRouteParts['knowledge']
  pageSessions: SessionParts['pageSessions']
  now: () => number
  library: Library
  lorebooks: Lorebooks
  embedTexts: EmbedTexts
  log: Log
  visits: VisitParts['visits']
  tracer: VisitParts['tracer']
  webDir: string
}

function routes(on: RouteParts): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  app.onError((thrown, c) => {
    const error = toAppError(thrown)
    c.var.logged['errorCode'] = error.code
    if (error.code === 'internal')
      on.log.error({ requestId: c.var.requestId, error: error.cause }, 'unexpected failure')
    return errorAnswer(c, error)
  })
  app.notFound((c) =>
    errorAnswer(c, new AppError('not_found', `Nothing is served at ${c.req.method} ${c.req.path}`)),
  )
  app.use(observed(on))
  app.use(permissions(AREAS, on))
  app.use(audited(AREAS, on.noteAction))
  app.route('/', healthRoutes(on))
  app.route('/v1/models', modelRoutes(on))
  app.route('/v1/usage', usageRoutes(on))
  app.route('/troupe/api', adminApi(on))
  app.get('/troupe', (c) => c.redirect('/troupe/'))
  app.route('/troupe', pageRoutes(on.webDir))
  return app
}

/** What the table demands of each route before hono. */
function scopesOf(areas: readonly Area[]): ReadonlyMap<string, Scope> {
  const posts = areas.flatMap(({ prefix, operations }) =>
    operations.flatMap(({ method, path, may }) =>
      method === 'post' && may !== 'anyone' && !isRole(may) ? [[pathOf(prefix, path), may] as const] : [],
    ),
  )
  return new Map(posts)
}

/** `generation` stands before `app`; everything that it does not serve is for `app`. */
export function doors(on: RouteParts) {
  const generation = createDoor(
    {
      '/v1/chat/completions': chatHandler(on),
      '/v1/responses': responsesHandler(on),
      '/v1/completions': completionHandler(on),
      '/v1/embeddings': embeddingHandler(on),
    },
    scopesOf(AREAS),
    on,
  )
  return { generation, app: routes(on) }
}

function adminApi(on: RouteParts) {
  const api = new Hono<AppEnv>()
  api.use(async (c, next) => {
    await next()
    c.header('cache-control', c.res.headers.get('cache-control') ?? 'no-store')
    c.header('x-content-type-options', 'nosniff')
  })
  api.get('/openapi.json', (c) => c.json(describeApi(AREAS)))
  api.route('/openwebui/events', eventRoutes(on))
  api.route('/session', sessionRoutes(on))
  api.route('/characters', characterRoutes(on))
  api.route('/pictures', pictureRoutes(on))
  api.route('/audit', auditRoutes(on))
  api.route('/imports', importRoutes(on))
  api.route('/lorebooks', lorebookRoutes(on))
  api.route('/knowledge/bases', baseRoutes(on))
  api.route('/knowledge/documents', documentRoutes(on))
  api.route('/knowledge/chunks', chunkRoutes(on))
  api.route('/knowledge/characters', ownKnowledgeRoutes(on))
  api.route('/knowledge/loaders', loaderRoutes(on))
  api.route('/knowledge/index', indexRoutes(on))
  api.route('/knowledge/test', knowledgeTestRoutes(on))
  api.route('/knowledge/exams', examRoutes(on))
  api.route('/library/archive', archiveRoutes(on))
  api.route('/prompt', previewRoutes(on))
  api.route('/prompt/room', roomRoutes(on))
  api.route('/requests', requestRoutes(on))
  api.route('/models', baseModelRoutes(on))
  api.route('/keys', keyRoutes(on))
  api.route('/roles', roleRoutes(on))
  api.route('/analytics', analyticsRoutes(on))
  api.route('/openwebui', openWebUiRoutes(on))
  api.route('/privacy', privacyRoutes(on))
  api.route('/webhooks', webhookRoutes(on))
  return api
}

/** The pattern of the route that answered: what stands in an address may be a name or a secret. */
function routeOf(c: Context<AppEnv>): string {
  const route = matchedRoutes(c).findLast(({ method }) => method !== 'ALL')
  return route?.path ?? (c.req.path.startsWith('/troupe/') ? '/troupe/*' : 'none')
}

function observed(on: VisitParts): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const { requestId, logged, finish } = beginVisit(c.env.incoming, c.env.outgoing, on)
    c.set('requestId', requestId)
    c.set('logged', logged)
    c.header('x-request-id', requestId)
    await next()
    finish(routeOf(c))
  }
}
