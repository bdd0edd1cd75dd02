/**
 * What Open WebUI says in headers: who asks, and what for. Two sources: the connection's header templates, which the admin
 * configures (`X-Troupe-*`), and Open WebUI's own (`X-OpenWebUI-*`). Reading is pure and believes nothing; whether the
 * caller may speak for somebody is decided at the door.
 */
import { jwtVerify } from 'jose'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Conversation, Person } from '#prompt/ask.ts'

export interface OpenWebUiHeaders {
  /** The signed token that names the person; not verified yet. */
  userJwt?: string
  /** Somebody named a person in plain text, as Open WebUI does without a secret. Anybody can write that. */
  plainUser: boolean
  /** Name of a background task; absent for a turn. */
  task?: string
  conversation: Conversation
  /** Names of the person's groups. Not signed, as all that comes from templates: for figures, never for what somebody may do. */
  groups?: readonly string[]
  /** One of the headers came twice: one of the two may have been smuggled in. */
  duplicated: boolean
  /** The connection in Open WebUI lacks our header templates, or its version does not know one of them. */
  templatesMissing: boolean
}

type RawHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

const USER_JWT = 'x-openwebui-user-jwt'
const PLAIN_USER = [
  'x-openwebui-user-id',
  'x-openwebui-user-name',
  'x-openwebui-user-email',
  'x-openwebui-user-role',
]
const TASK = 'x-troupe-task'
const MESSAGE_ID = 'x-troupe-message-id'
const USER_MESSAGE_ID = 'x-troupe-user-message-id'
const CHAT_ID = 'x-troupe-chat-id'
const GROUPS = 'x-troupe-groups'
/** Sent without any template, but only when there is a chat. */
const OWN_CHAT_ID = 'x-openwebui-chat-id'

const TEMPLATES = [TASK, MESSAGE_ID, USER_MESSAGE_ID, CHAT_ID]

/** None of these holds a comma by itself, and Node joins a repeated header with one. */
const SINGLE = [USER_JWT, 'x-openwebui-user-id', 'x-openwebui-user-role', ...TEMPLATES, OWN_CHAT_ID]

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Names of headers are in lower case, as Node gives them. */
export function readHeaders(headers: RawHeaders): OpenWebUiHeaders {
  const read = (name: string) => readValue(headers[name])
  const [userJwt, task, groups] = [read(USER_JWT), read(TASK), readGroups(headers[GROUPS])]
  return {
    plainUser: PLAIN_USER.some((name) => read(name) !== undefined),
    ...(userJwt !== undefined && { userJwt }),
    ...(task !== undefined && { task }),
    ...(groups !== undefined && { groups }),
    conversation: conversationOf(
      readChatId(read(CHAT_ID) ?? read(OWN_CHAT_ID)),
      read(MESSAGE_ID),
      read(USER_MESSAGE_ID),
    ),
    duplicated: SINGLE.some((name) => isRepeated(headers[name])),
    // Without a value for it, a template arrives as an empty header.
    templatesMissing: TEMPLATES.some((name) => headers[name] === undefined || isUnfilled(headers[name])),
  }
}

/** The person that plain headers name: for development, since anybody can write them. */
export function plainPerson(headers: RawHeaders): Person | undefined {
  const id = readValue(headers['x-openwebui-user-id'])
  return id === undefined ? undefined : named(id, readValue(headers['x-openwebui-user-name']))
}

/** Of a person in more groups, the first; longer names are no names. */
const MOST_GROUPS = 32
const GROUP_CHARACTERS = 200

/** Open WebUI joins the names with commas, so that one with a comma in it comes apart. */
function readGroups(raw: RawValue): readonly string[] | undefined {
  const names = (readValue(raw) ?? '').split(',').map((name) => name.trim())
  const groups = [...new Set(names)].filter((name) => name !== '' && name.length <= GROUP_CHARACTERS)
  return groups.length === 0 ? undefined : groups.slice(0, MOST_GROUPS)
}

const named = (id: string, name: string | undefined): Person => (name === undefined ? { id } : { id, name })

function conversationOf(
  chatId: string | undefined,
  messageId: string | undefined,
  userMessageId: string | undefined,
): Conversation {
  const conversation: Conversation = {}
  if (chatId !== undefined) conversation.chatId = chatId
  if (messageId !== undefined) conversation.messageId = messageId
  if (userMessageId !== undefined) conversation.userMessageId = userMessageId
  return conversation
}

type RawValue = string | readonly string[] | undefined

/** A template that Open WebUI does not know is sent as it stands. */
const isUnfilled = (raw: RawValue): boolean => String(raw).includes('{{')

const isRepeated = (raw: RawValue): boolean =>
  typeof raw === 'string' ? raw.includes(',') : raw !== undefined && raw.length > 1

function readValue(raw: RawValue): string | undefined {
  const text = (typeof raw === 'string' ? raw : raw?.[0])?.trim()
  if (text === undefined || text === '' || isUnfilled(text)) return undefined
  try {
    return decodeURIComponent(text)
  } catch {
    // Not percent-encoded after all; a per cent sign may stand for itself.
    return text
  }
}

/** Temporary chats (`temporary:…`) and channels (`channel:…`) are no chats that could be found again. */
const readChatId = (id: string | undefined): string | undefined =>
  id !== undefined && UUID.test(id) ? id : undefined

/** Open WebUI's default lifetime of the token, with room for a request that waited. */
const MAX_AGE_SECONDS = 300 + 30

/** Clocks of two machines. */
const LEEWAY_SECONDS = 5

const Claims = z.looseObject({ sub: z.string().min(1), name: z.string().optional(), role: z.string() })

/**
 * The person whom Open WebUI's signed token names. Several secrets count while one is being changed. Throws AppError
 * `unauthenticated` with the same words whatever is wrong: the difference helps only who forges one.
 */
export async function verifyUserToken(
  token: string,
  secrets: readonly string[],
  nowMs: number,
): Promise<Person & { role: string }> {
  let failure: unknown
  for (const secret of secrets) {
    try {
      return await readToken(token, secret, nowMs)
    } catch (error) {
      failure = error
    }
  }
  throw new AppError(
    'unauthenticated',
    "The user token is not valid; Open WebUI's FORWARD_USER_INFO_HEADER_JWT_SECRET and our OPENWEBUI_JWT_SECRET must be the same, and both clocks right",
    { cause: failure },
  )
}

async function readToken(token: string, secret: string, nowMs: number): Promise<Person & { role: string }> {
  const { payload } = await jwtVerify(token, new TextEncoder().encode(secret), {
    algorithms: ['HS256'],
    issuer: 'open-webui',
    requiredClaims: ['exp', 'iat', 'sub'],
    maxTokenAge: MAX_AGE_SECONDS,
    clockTolerance: LEEWAY_SECONDS,
    currentDate: new Date(nowMs),
  })
  const { sub, name, role } = Claims.parse(payload)
  return { role, ...named(sub, name || undefined) }
}
