/** The description of our HTTP interface, made of the schemas that read the requests. Every route has its line; a test holds that. */
import { z } from 'zod'

import { isRole, type Permission } from '#gateway/roles.ts'
import type { AuditAction } from '#library/audit.ts'

export interface Operation {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete'
  /** With hono's `:name` for what varies. */
  path: string
  summary: string
  /** Who is let in; `permissions.ts` holds it. */
  may: Permission
  query?: z.ZodObject
  /** A JSON body, or what else is sent. */
  body?: z.ZodType | 'files' | 'zip' | 'bytes'
  /** Status of a success, 200 without it. */
  status?: 200 | 201 | 202 | 204
  /** What the audit says of a success, where it is not written with the change itself; `:name` is that of the path. */
  audit?: readonly [action: AuditAction, target: string]
  /** Media type of the answer, JSON without it. */
  answer?: string
}

/** One area: where its paths begin. */
export interface Area {
  tag: string
  prefix: string
  operations: readonly Operation[]
}

const ERROR = {
  description: 'What went wrong, in a sentence that a person can act on',
  content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
}

/** OpenAPI 3.1. Equal areas give equal documents. */
export function describeApi(areas: readonly Area[]): object {
  const paths: Record<string, Record<string, object>> = {}
  for (const { tag, prefix, operations } of areas)
    for (const operation of operations) {
      const path = openPath(prefix, operation.path)
      paths[path] = { ...paths[path], [operation.method]: describe(operation, tag) }
    }
  return {
    openapi: '3.1.0',
    info: { title: 'Troupe', version: '1', description: 'Characters for Open WebUI and any OpenAI client' },
    security: [{ key: [] }],
    paths,
    components: {
      securitySchemes: {
        key: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key with the scope or the role of the operation',
        },
      },
      schemas: { Error: toSchema(ErrorBody) },
    },
  }
}

const ErrorBody = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
})

/** With hono's `:name`, and `{…}` behind it for what the name may hold. */
export const pathOf = (prefix: string, path: string): string => (path === '/' ? prefix : `${prefix}${path}`)

const openPath = (prefix: string, path: string): string =>
  pathOf(prefix, path).replace(/:(\w+)(\{[^}]*\})?/g, '{$1}')

/** What a reader has to bring, in words. */
function demandOf(may: Permission): string {
  if (may === 'anyone') return 'Open to everybody'
  if (isRole(may)) return `Role: ${may}${may === 'owner' ? '' : ' or above'}`
  return `Scope: ${may}`
}

function describe({ path, summary, may, query, body, status = 200, answer }: Operation, tag: string) {
  const parameters = [...pathParameters(path), ...(query ? queryParameters(query) : [])]
  const type = answer ?? 'application/json'
  return {
    tags: [tag],
    summary,
    description: demandOf(may),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && { requestBody: requestBody(body) }),
    responses: {
      [String(status)]: {
        description: summary,
        ...(status !== 204 && { content: { [type]: {} } }),
      },
      default: ERROR,
    },
  }
}

const pathParameters = (path: string) =>
  [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))

function queryParameters(query: z.ZodObject) {
  const { properties = {}, required = [] } = toSchema(query)
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }))
}

function requestBody(body: NonNullable<Operation['body']>) {
  const files = { type: 'array', items: { type: 'string', format: 'binary' } }
  if (body === 'files')
    return {
      required: true,
      content: { 'multipart/form-data': { schema: { type: 'object', properties: { files } } } },
    }
  if (body === 'bytes') return { required: true, content: { 'application/octet-stream': {} } }
  if (body === 'zip') return { required: true, content: { 'application/zip': {} } }
  return { required: true, content: { 'application/json': { schema: toSchema(body) } } }
}

interface JsonSchema {
  properties?: Record<string, object>
  required?: string[]
}

/** As a client writes it: defaults are optional, and texts stand for numbers in a query. */
function toSchema(schema: z.ZodType): JsonSchema {
  const { $schema: _dialect, ...described } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
  return described as JsonSchema
}
