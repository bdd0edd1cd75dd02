/** All areas of the interface. `routes.ts` mounts their routes in the same order. */
import { analyticsOperations } from './api/analytics.ts'
import { auditOperations, characterOperations, pictureOperations } from './api/characters.ts'
import { archiveOperations, importOperations } from './api/imports.ts'
import { keyOperations } from './api/keys.ts'
import {
  baseOperations,
  chunkOperations,
  documentOperations,
  ownKnowledgeOperations,
} from './api/knowledge.ts'
import { examOperations, knowledgeTestOperations } from './api/knowledge-exams.ts'
import { indexOperations, loaderOperations } from './api/knowledge-sources.ts'
import { lorebookOperations } from './api/lorebooks.ts'
import { eventOperations, openWebUiOperations } from './api/openwebui.ts'
import { modelOperations } from './api/models.ts'
import { previewOperations, requestOperations, roomOperations } from './api/prompts.ts'
import { roleOperations } from './api/roles.ts'
import { sessionOperations } from './api/sessions.ts'
import { privacyOperations } from './api/privacy.ts'
import { webhookOperations } from './api/webhooks.ts'
import type { Area } from './openapi.ts'
import { CompletionBody } from './v1/completions.ts'
import { EmbeddingBody } from './v1/embeddings.ts'
import { ChatBody } from './v1/read-ask.ts'
import { ResponsesBody } from './v1/read-responses.ts'

const admin = (tag: string, path: string, operations: Area['operations']): Area => ({
  tag,
  prefix: `/troupe/api${path}`,
  operations,
})

export const AREAS: readonly Area[] = [
  {
    tag: 'OpenAI',
    prefix: '/v1',
    operations: [
      { method: 'get', path: '/models', summary: 'The characters as models', may: 'models' },
      // Names of base models may have slashes.
      { method: 'get', path: '/models/:id{.+}', summary: 'One character as a model', may: 'models' },
      { method: 'get', path: '/usage', summary: 'What the key has used of its quotas', may: 'models' },
      {
        method: 'post',
        path: '/chat/completions',
        summary: 'A chat turn, streamed or whole',
        may: 'chat',
        body: ChatBody,
      },
      {
        method: 'post',
        path: '/responses',
        summary: 'A chat turn in the form of the Responses API; no conversation is kept',
        may: 'chat',
        body: ResponsesBody,
      },
      {
        method: 'post',
        path: '/completions',
        summary: 'A base model goes on with a text; a character answers to it',
        may: 'chat',
        body: CompletionBody,
      },
      {
        method: 'post',
        path: '/embeddings',
        summary: 'Vectors of texts',
        may: 'embeddings',
        body: EmbeddingBody,
      },
    ],
  },
  admin('Characters', '/characters', characterOperations),
  admin('Characters', '/pictures', pictureOperations),
  admin('Imports', '/imports', importOperations),
  admin('Imports', '/library/archive', archiveOperations),
  admin('Lorebooks', '/lorebooks', lorebookOperations),
  admin('Knowledge', '/knowledge/bases', baseOperations),
  admin('Knowledge', '/knowledge/documents', documentOperations),
  admin('Knowledge', '/knowledge/chunks', chunkOperations),
  admin('Knowledge', '/knowledge/characters', ownKnowledgeOperations),
  admin('Knowledge', '/knowledge/loaders', loaderOperations),
  admin('Knowledge', '/knowledge/index', indexOperations),
  admin('Knowledge', '/knowledge/test', knowledgeTestOperations),
  admin('Knowledge', '/knowledge/exams', examOperations),
  admin('Prompt', '/prompt', previewOperations),
  admin('Prompt', '/prompt/room', roomOperations),
  admin('Prompt', '/requests', requestOperations),
  admin('Models', '/models', modelOperations),
  admin('Keys', '/keys', keyOperations),
  admin('Roles', '/roles', roleOperations),
  admin('Analytics', '/analytics', analyticsOperations),
  admin('Audit', '/audit', auditOperations),
  admin('Open WebUI', '/session', sessionOperations),
  admin('Open WebUI', '/openwebui', openWebUiOperations),
  admin('Privacy', '/privacy', privacyOperations),
  admin('Webhooks', '/webhooks', webhookOperations),
  admin('Open WebUI', '/openwebui/events', eventOperations),
  {
    tag: 'Health',
    prefix: '',
    operations: [
      { method: 'get', path: '/livez', summary: 'The process runs', may: 'anyone' },
      { method: 'get', path: '/health', summary: 'Whether it can be used, without details', may: 'anyone' },
      { method: 'get', path: '/v1/health', summary: 'As /health', may: 'anyone' },
      {
        method: 'get',
        path: '/readyz',
        summary:
          'Whether it can be used; from this machine, or with a key of the scope metrics, also what answers',
        may: 'anyone',
      },
      {
        method: 'get',
        path: '/metrics',
        summary: 'Figures for Prometheus; from this machine without a key',
        may: 'metrics',
        answer: 'text/plain',
      },
    ],
  },
  admin('Description', '/openapi.json', [
    { method: 'get', path: '/', summary: 'This document', may: 'anyone' },
  ]),
]
