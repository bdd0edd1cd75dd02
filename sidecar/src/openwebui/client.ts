/** The admin's side of Open WebUI's REST interface, as far as we use it. Bodies as seen working on 0.12.4. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { expectAnswer, isMissing, openWire, refusal, type Wire } from './wire.ts'

const AccessGrant = z.looseObject({
  principal_type: z.string(),
  /** An id, or `*` for everybody. */
  principal_id: z.string(),
  permission: z.string(),
})
export type AccessGrant = Pick<z.infer<typeof AccessGrant>, 'principal_type' | 'principal_id' | 'permission'>

/** What everybody may read. */
export const PUBLIC_READ: readonly AccessGrant[] = [
  { principal_type: 'user', principal_id: '*', permission: 'read' },
]

/** A row of Open WebUI's model table. One with the id of a provider's model changes how that model is shown. */
const ModelRow = z.looseObject({
  id: z.string(),
  name: z.string(),
  base_model_id: z.string().nullish(),
  params: z.record(z.string(), z.unknown()).default({}),
  meta: z
    .record(z.string(), z.unknown())
    .nullish()
    .transform((meta) => meta ?? {}),
  access_grants: z.array(AccessGrant).default([]),
})
export type ModelRow = z.infer<typeof ModelRow>

/** A row as it is sent. Left out, `params` are emptied and `is_active` stays as it is. */
export interface ModelForm {
  id: string
  name: string
  base_model_id: null
  params: Record<string, unknown>
  /** Merged into what is stored, key by key. */
  meta: Record<string, unknown>
  /** Counts for a new row only: see `setAccess`. */
  access_grants?: readonly AccessGrant[]
}

/** Names and addresses are forgotten at once. */
const UserList = z.object({ users: z.array(z.object({ id: z.string() })), total: z.number() })

const Group = z.looseObject({ id: z.string(), name: z.string() })
export type Group = Pick<z.infer<typeof Group>, 'id' | 'name'>

const StoredFunction = z.looseObject({
  id: z.string(),
  name: z.string(),
  content: z.string(),
  is_active: z.boolean(),
})
export type StoredFunction = z.infer<typeof StoredFunction>

const FunctionEntry = StoredFunction.omit({ content: true })
type FunctionEntry = z.infer<typeof FunctionEntry>

export interface FunctionForm {
  /** A Python identifier in lower case. */
  id: string
  name: string
  content: string
  description: string
}

/** Not a loose object: what is left out here, the snapshot of the whole chat first of all, is forgotten at once. */
const Feedback = z.object({
  id: z.string(),
  data: z
    .object({
      rating: z.union([z.number(), z.string()]).nullish(),
    })
    .nullish(),
  meta: z.object({ message_id: z.string().nullish(), chat_id: z.string().nullish() }).nullish(),
  /** Seconds since 1970. */
  updated_at: z.number(),
})
export type Feedback = z.infer<typeof Feedback>

/**
 * Every method throws AppError: `unavailable` or `upstream_timeout` when Open WebUI does not answer, `upstream` when it
 * refuses (with `facts.status`) or answers with something else.
 */
export interface OpenWebUi {
  /** All rows that stand for a provider's model, ours and others, with their pictures. */
  listBaseModels(): Promise<ModelRow[]>
  getModel(id: string): Promise<ModelRow | undefined>
  /**
   * Creates or changes rows. Not as a whole: when one is refused, those before it are stored. An id with a space is
   * skipped without a word, and a picture that Open WebUI does not take is stored as null.
   */
  importModels(rows: readonly ModelForm[]): Promise<void>
  /** Replaces who may see a model. Creates a bare row when there is none. */
  setAccess(id: string, grants: readonly AccessGrant[]): Promise<void>
  /** Groups of people there. */
  listGroups(): Promise<Group[]>
  /** Deleting what is gone is fine. */
  deleteModel(id: string): Promise<void>
  /** Lets changed rows take effect: chats go on with the old ones until the list of models is asked for again. */
  refreshModels(): Promise<void>
  functions: {
    list(): Promise<FunctionEntry[]>
    get(id: string): Promise<StoredFunction | undefined>
    /** A new function is not active. */
    create(form: FunctionForm): Promise<void>
    /** Keeps whether it is active, and its valves. */
    update(form: FunctionForm): Promise<void>
    /** Switches an active function off, and one that is off on. */
    toggle(id: string): Promise<void>
    valves(id: string): Promise<Record<string, unknown>>
    /** Replaces all valves; those left out get their defaults. */
    setValves(id: string, valves: Readonly<Record<string, unknown>>): Promise<void>
  }
  getFeedback(id: string): Promise<Feedback | undefined>
  /** Ids of all people there, also of those who wait for approval. Throws also for a list that is not whole. */
  listUserIds(): Promise<Set<string>>
  /** False for a key that is unknown, or belongs to somebody who is no admin. */
  isAdminKey(): Promise<boolean>
  /** Ends running calls. */
  close(): Promise<void>
}

/** The caller closes it. `url` has no slash at its end; the key is one of an admin. */
export function openOpenWebUi({ url, apiKey }: { url: string; apiKey: string }): OpenWebUi {
  const wire = openWire(url)
  return {
    ...models(wire, apiKey),
    functions: functions(wire, apiKey),
    async getFeedback(id) {
      const reply = await wire.ask({
        path: `/api/v1/evaluations/feedback/${encodeURIComponent(id)}`,
        token: apiKey,
      })
      return isMissing(reply) ? undefined : expectAnswer(Feedback, reply)
    },
    async listUserIds() {
      const reply = await wire.ask({ path: '/api/v1/users/all', token: apiKey })
      const { users, total } = expectAnswer(UserList, reply)
      if (users.length !== total)
        throw new AppError(
          'upstream',
          'Open WebUI did not list all of its people; nobody is compared with it',
        )
      return new Set(users.map(({ id }) => id))
    },
    async isAdminKey() {
      // The usual question "who am I" is refused to keys. The answer to this one names secrets, so only its status is used.
      const reply = await wire.ask({ path: '/openai/config', token: apiKey })
      if (reply.status === 200) return true
      if (reply.status === 401 || reply.status === 403) return false
      throw refusal(reply)
    },
    close: () => wire.close(),
  }
}

function models(wire: Wire, token: string) {
  return {
    async listBaseModels() {
      return expectAnswer(z.array(ModelRow), await wire.ask({ path: '/api/v1/models/base', token }))
    },
    async getModel(id: string) {
      const reply = await wire.ask({ path: `/api/v1/models/model?id=${encodeURIComponent(id)}`, token })
      return isMissing(reply) ? undefined : expectAnswer(ModelRow, reply)
    },
    async importModels(rows: readonly ModelForm[]) {
      const reply = await wire.ask({ path: '/api/v1/models/import', token, body: { models: rows } })
      expectAnswer(z.literal(true), reply)
    },
    async setAccess(id: string, grants: readonly AccessGrant[]) {
      const body = { id, access_grants: grants }
      const reply = await wire.ask({ path: '/api/v1/models/model/access/update', token, body })
      expectAnswer(z.looseObject({ id: z.literal(id) }), reply)
    },
    async listGroups() {
      return expectAnswer(z.array(Group), await wire.ask({ path: '/api/v1/groups/', token }))
    },
    async deleteModel(id: string) {
      const reply = await wire.ask({ path: '/api/v1/models/model/delete', token, body: { id } })
      if (!isMissing(reply)) expectAnswer(z.literal(true), reply)
    },
    async refreshModels() {
      const reply = await wire.ask({ path: '/api/models?refresh=true', token })
      expectAnswer(z.looseObject({ data: z.array(z.unknown()) }), reply)
    },
  }
}

function functions(wire: Wire, token: string): OpenWebUi['functions'] {
  const base = '/api/v1/functions'
  const at = (id: string) => `${base}/id/${encodeURIComponent(id)}`
  const toBody = ({ id, name, content, description }: FunctionForm) => ({
    id,
    name,
    content,
    meta: { description },
  })
  const Entry = z.looseObject({ id: z.string() })
  const Valves = z
    .record(z.string(), z.unknown())
    .nullable()
    .transform((valves) => valves ?? {})
  return {
    async list() {
      return expectAnswer(z.array(FunctionEntry), await wire.ask({ path: `${base}/list`, token }))
    },
    async get(id) {
      const reply = await wire.ask({ path: at(id), token })
      return isMissing(reply) ? undefined : expectAnswer(StoredFunction, reply)
    },
    async create(form) {
      expectAnswer(Entry, await wire.ask({ path: `${base}/create`, token, body: toBody(form) }))
    },
    async update(form) {
      expectAnswer(Entry, await wire.ask({ path: `${at(form.id)}/update`, token, body: toBody(form) }))
    },
    async toggle(id) {
      expectAnswer(Entry, await wire.ask({ path: `${at(id)}/toggle`, token, body: {} }))
    },
    async valves(id) {
      return expectAnswer(Valves, await wire.ask({ path: `${at(id)}/valves`, token }))
    },
    async setValves(id, valves) {
      expectAnswer(Valves, await wire.ask({ path: `${at(id)}/valves/update`, token, body: valves }))
    },
  }
}
