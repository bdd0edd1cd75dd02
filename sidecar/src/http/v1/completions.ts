/**
 * POST /v1/completions: old scripts and text fields that complete what is typed. A base model goes on with the text itself; a
 * character has a persona and therefore answers to it, as it would in a chat.
 */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Turn } from '#chat/turn.ts'
import type { Told, Usage } from '#providers/provider.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import { errorBody, writeJson } from '../errors.ts'
import { stopWhenGone } from '../gone.ts'
import { admit, completeAsk, type AskingParts } from './asking.ts'
import type { Caller } from './door.ts'
import { askParts, ChatBody, createReader, ignoredFields } from './read-ask.ts'
import { writeStream, type Chunks } from './stream.ts'
import { usageJson, type Envelope } from './wire.ts'

const shared = ChatBody.pick({
  model: true,
  stream: true,
  stream_options: true,
  temperature: true,
  top_p: true,
  top_k: true,
  min_p: true,
  frequency_penalty: true,
  presence_penalty: true,
  repeat_penalty: true,
  repetition_penalty: true,
  seed: true,
  stop: true,
  max_tokens: true,
  user: true,
  safety_identifier: true,
})

export const CompletionBody = shared.extend({
  /** One text; lists of texts and of token numbers are refused. */
  prompt: z.union([z.string(), z.array(z.string()).length(1)], {
    error: ({ input }) =>
      Array.isArray(input) && input.every((item) => typeof item === 'string')
        ? 'may hold one text; send one request for each'
        : 'must be a text; numbers of tokens are not taken',
  }),
  suffix: z.string().nullish(),
  echo: z.boolean().nullish(),
  n: z.literal(1, 'may only be 1').nullish(),
  best_of: z.literal(1, 'may only be 1').nullish(),
  /** A number here, and of another shape than a chat's. */
  logprobs: z.unknown().optional(),
})

const read = createReader(CompletionBody)

/** As OpenAI has it. */
const DEFAULT_TOKENS = 16

export function completionHandler(on: AskingParts & { turn: Turn }) {
  return async (caller: Caller): Promise<void> => {
    const { incoming, outgoing } = caller
    const { body, ignored } = read(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
    if (body.echo === true)
      throw new AppError('invalid', 'The prompt is not repeated; leave out "echo"', { param: 'echo' })
    const prompt = [body.prompt].flat().join('')
    const { prompt: _prompt, suffix, echo: _echo, n: _n, best_of: _best, logprobs, ...rest } = body
    caller.ignored([...ignoredFields(rest), ...ignored, ...(logprobs == null ? [] : ['logprobs'])])
    const said = askParts({
      ...rest,
      max_tokens: body.max_tokens ?? DEFAULT_TOKENS,
      messages: [{ role: 'user', content: prompt }],
    })
    const completion = { text: prompt, ...(suffix == null ? {} : { suffix }) }
    const ask = await completeAsk({ ...said, prompt: completion }, caller, on)
    const envelope: Envelope = {
      requestId: ask.requestId,
      model: ask.model,
      createdSeconds: Math.floor(on.now() / 1_000),
    }
    const ticket = admit(ask, caller, on)
    try {
      const deltas = on.turn(ask, stopWhenGone(outgoing), ticket)
      if (!ask.stream) {
        writeJson(outgoing, await collect(deltas, envelope))
        return
      }
      const chunks = createChunks(envelope, body.stream_options?.include_usage ?? false)
      const failure = await writeStream({ outgoing, deltas, chunks, keepAlive: caller.principal.keepAlive })
      if (failure !== undefined) caller.logged['errorCode'] = failure
    } finally {
      ticket.end()
    }
  }
}

const head = ({ requestId, model, createdSeconds }: Envelope) => ({
  id: `cmpl-${requestId}`,
  object: 'text_completion',
  created: createdSeconds,
  model,
})

const choice = (text: string, finish: string | null) => [
  { text, index: 0, logprobs: null, finish_reason: finish },
]

/** Thoughts and tool calls have no place in this dialect. */
function createChunks(envelope: Envelope, wantsUsage: boolean): Chunks {
  const event = (value: object) => `data: ${JSON.stringify({ ...head(envelope), ...value })}\n\n`
  const more = wantsUsage ? { usage: null } : {}
  return {
    delta: (delta) => (delta.type === 'text' ? event({ choices: choice(delta.text, null), ...more }) : ''),
    done({ reason, usage }) {
      const last = event({ choices: choice('', reason), ...more })
      const used = wantsUsage && usage ? event({ choices: [], usage: usageJson(usage) }) : ''
      return `${last}${used}data: [DONE]\n\n`
    },
    beat: () => event({ choices: choice('', null), ...more }),
    error: (error) => `data: ${JSON.stringify(errorBody(error))}\n\ndata: [DONE]\n\n`,
  }
}

async function collect(deltas: AsyncIterable<Told>, envelope: Envelope): Promise<object> {
  let text = ''
  let reason = 'stop'
  let used: Usage | undefined
  for await (const delta of deltas) {
    if (delta.type === 'text') text += delta.text
    if (delta.type !== 'done') continue
    reason = delta.reason
    used = delta.usage
  }
  return {
    ...head(envelope),
    choices: choice(text, reason),
    ...(used === undefined ? {} : { usage: usageJson(used) }),
  }
}
