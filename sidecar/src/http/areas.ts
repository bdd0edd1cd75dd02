/** All areas of the interface. `routes.ts` mounts their routes in the same order. */
import { auditOperations, characterOperations, pictureOperations } from './api/characters.ts'
import { archiveOperations, importOperations } from './api/imports.ts'
import { keyOperations } from './api/keys.ts'
import { lorebookOperations } from './api/lorebooks.ts'
import { eventOperations, openWebUiOperations, sessionOperations } from './api/openwebui.ts'
import { modelOperations } from './api/models.ts'
import { previewOperations, requestOperations, roomOperations } from './api/prompts.ts'
import type { Area } from './openapi.ts'
import { CompletionBody } from './v1/completions.ts'
import { EmbeddingBody } from './v1/embeddings.ts'
import { ChatBody } from './v1/read-ask.ts'
import { ResponsesBody } from './v1/read-responses.ts'

const admin = (tag: string, path: string, operations: Area['operations']): Area => ({
  tag,
  prefix: `/troupe/api${path}`,
  scope: 'admin',
  operations,
})

export const AREAS: readonly Area[] = [
  {
    tag: 'OpenAI',
    prefix: '/v1',
    scope: 'models, chat, embeddings; base-models for the models behind the characters',
    operations: [
      { method: 'get', path: '/models', summary: 'The characters as models' },
      { method: 'get', path: '/models/:id', summary: 'One character as a model' },
      {
        method: 'post',
        path: '/chat/completions',
        summary: 'A chat turn, streamed or whole',
        body: ChatBody,
      },
      {
        method: 'post',
        path: '/responses',
        summary: 'A chat turn in the form of the Responses API; no conversation is kept',
        body: ResponsesBody,
      },
      {
        method: 'post',
        path: '/completions',
        summary: 'A base model goes on with a text; a character answers to it',
        body: CompletionBody,
      },
      { method: 'post', path: '/embeddings', summary: 'Vectors of texts', body: EmbeddingBody },
    ],
  },
  admin('Characters', '/characters', characterOperations),
  admin('Characters', '/pictures', pictureOperations),
  admin('Imports', '/imports', importOperations),
  admin('Imports', '/library/archive', archiveOperations),
  admin('Lorebooks', '/lorebooks', lorebookOperations),
  admin('Prompt', '/prompt', previewOperations),
  admin('Prompt', '/prompt/room', roomOperations),
  admin('Prompt', '/requests', requestOperations),
  admin('Models', '/models', modelOperations),
  admin('Keys', '/keys', keyOperations),
  admin('Audit', '/audit', auditOperations),
  admin('Open WebUI', '/session', sessionOperations),
  admin('Open WebUI', '/openwebui', openWebUiOperations),
  { ...admin('Open WebUI', '/openwebui/events', eventOperations), scope: 'events' },
  {
    tag: 'Health',
    prefix: '',
    scope: 'none; metrics only from loopback, or with the scope metrics',
    operations: [
      { method: 'get', path: '/livez', summary: 'The process runs' },
      { method: 'get', path: '/readyz', summary: 'The databases answer, and which model servers do' },
      { method: 'get', path: '/metrics', summary: 'Figures for Prometheus', answer: 'text/plain' },
    ],
  },
  admin('Description', '/openapi.json', [{ method: 'get', path: '/', summary: 'This document' }]),
]
