/** POST /v1/embeddings: vectors of texts from a base model. */
import { z } from 'zod'

import type { StopSignal } from '#base/stopping.ts'
import type { EmbedTexts, EmbedWish } from '#chat/embed-texts.ts'
import type { Limits, Ticket, Wish } from '#gateway/limits.ts'
import { readHeaders } from '#openwebui/headers.ts'

import { CHAT_BODY_BYTES, check, parseJson, readBytes } from '../body.ts'
import { writeJson } from '../errors.ts'
import { stopWhenGone } from '../gone.ts'
import { subUserOf } from './asking.ts'
import type { Caller } from './door.ts'
import { forwardedPerson, type ForwardParts } from './forwarded-person.ts'
import { ChatBody, extraBeside, ignoredFields, userOf } from './read-ask.ts'

/** As OpenAI has it. */
const MOST_TEXTS = 2_048

const text = z.string().min(1, 'may not be empty')

export const EmbeddingBody = z.looseObject({
  model: text,
  /** Texts; numbers of tokens mean something else to each model and are refused. */
  input: z.union([text, z.array(text).min(1).max(MOST_TEXTS)], {
    error: ({ input }) =>
      Array.isArray(input) && input.length > MOST_TEXTS
        ? `may hold at most ${MOST_TEXTS.toLocaleString('en')} texts`
        : 'must be a text or a list of texts; numbers of tokens are not taken',
  }),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  dimensions: z.number().int().positive().nullish(),
  user: ChatBody.shape.user,
  safety_identifier: ChatBody.shape.safety_identifier,
})

const extraOf = extraBeside(EmbeddingBody.shape)

interface EmbeddingParts extends ForwardParts {
  embedTexts: EmbedTexts
  limits: Pick<Limits, 'admit'>
  pseudonym: (kind: 'person', id: string) => string
}

/** A rough estimate; it is put right by what the server counts. */
const CHARACTERS_PER_TOKEN = 4

async function embed(wish: EmbedWish, ticket: Ticket, gone: StopSignal, on: EmbeddingParts) {
  try {
    await ticket.admitted
    const embedding = await on.embedTexts(wish, gone)
    ticket.spend({ model: wish.model, promptTokens: embedding.tokens ?? null, completionTokens: null })
    return embedding
  } finally {
    ticket.end()
  }
}

/** Open WebUI names who uploads or asks, and nobody where it reads all documents of the house anew. */
async function whoOf(caller: Caller, on: EmbeddingParts): Promise<Pick<Wish, 'person' | 'isForHouse'>> {
  if (!caller.principal.scopes.includes('forward-user')) return { person: undefined }
  const headers = readHeaders(caller.incoming.headers)
  const person = await forwardedPerson(headers, caller, on, { isForHouse: true })
  return person === undefined
    ? { person: undefined, isForHouse: true }
    : { person: on.pseudonym('person', person.id) }
}

export function embeddingHandler(on: EmbeddingParts) {
  return async (caller: Caller): Promise<void> => {
    const { incoming, outgoing, requestId, principal, logged, admitted } = caller
    const body = check(EmbeddingBody, parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
    const { model, dimensions } = body
    const texts = [body.input].flat()
    const subUser = subUserOf(principal, userOf(body).user)
    caller.ignored(ignoredFields(body))
    const wish = {
      ...{ requestId, keyId: principal.keyId, model, texts, extra: extraOf(body), trail: caller },
      ...(dimensions == null ? {} : { dimensions }),
      ...(subUser === undefined ? {} : { subUser }),
    }
    const ticket = on.limits.admit({
      ...{ requestId, kind: 'embedding', keyId: principal.keyId, keyLimits: principal.limits },
      ...(await whoOf(caller, on)),
      tokens: Math.ceil(texts.reduce((sum, { length }) => sum + length, 0) / CHARACTERS_PER_TOKEN),
    })
    admitted()
    const { vectors, tokens = 0 } = await embed(wish, ticket, stopWhenGone(outgoing), on)
    // Now it is a model's name, and not what somebody wrote in its place.
    logged['baseModel'] = model
    const encode = body.encoding_format === 'base64' ? toBase64 : (vector: readonly number[]) => vector
    writeJson(outgoing, {
      object: 'list',
      data: vectors.map((vector, index) => ({ object: 'embedding', index, embedding: encode(vector) })),
      model,
      usage: { prompt_tokens: tokens, total_tokens: tokens },
    })
  }
}

/** Little-endian 32-bit floats, as OpenAI's clients read them. */
function toBase64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  vector.forEach((value, at) => bytes.writeFloatLE(value, at * 4))
  return bytes.toString('base64')
}
