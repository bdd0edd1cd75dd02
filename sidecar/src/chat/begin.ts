/**
 * From the materials to an answer that has begun: the prompt is composed and a server is found for it. What goes wrong before
 * the first word is mended here, and never after it.
 */
import { AppError, toAppError } from '#base/errors.ts'
import type { Metrics } from '#base/metrics.ts'
import { silentSpan, silentTrail, type Facts, type Span } from '#base/trail.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Ask, Sampling } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import type { ModelProfile, Prompt, Speaker } from '#prompt/prompt.ts'
import type { Placed, Pool } from '#providers/pool.ts'
import type { Listener, ModelCall } from '#providers/provider.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

import { composePlain } from './compose-plain.ts'
import type { Gathered } from './gather.ts'
import type { Journal } from './journal.ts'
import { ignoredAt, messagesFor, thinkingFor } from './known-model.ts'
import { taskFormat } from './tasks.ts'

export interface BeginParts {
  upstreams: Upstreams
  pool: Pool
  metrics: Metrics
  /** What keeps the prompt caches of those apart who must not learn of each other. */
  cacheSalt: (domain: string) => string
}

/** For whom an answer begins. */
export interface Asker extends Listener {
  /** Rejects when the limits refuse; awaited before a model is asked, after the prompt is made. */
  readonly admitted: Promise<unknown> | undefined
}

export interface Begun extends Placed {
  prompt: Prompt
}

/** What another model may do where this one cannot. */
const MAY_FALL_BACK = new Set<AppError['code']>([
  'unavailable',
  'upstream',
  'upstream_timeout',
  'model_not_found',
])

/** A refused prompt was under-estimated; over the sample texts of `tests/e2e/context.test.ts` never by more than this. */
const STRICTER_RATIO = 2

/** Tells the asker what it waits for. Throws what the usual model threw, if no other can take its place. */
export async function begin(
  ask: Ask,
  gathered: Gathered,
  on: BeginParts,
  journal: Journal,
  asker: Asker,
): Promise<Begun> {
  let failure: AppError
  try {
    return await beginWith(gathered.candidates, ask, gathered, on, journal, asker)
  } catch (thrown) {
    failure = toAppError(thrown)
  }
  for (const model of gathered.fallbacks) {
    if (!MAY_FALL_BACK.has(failure.code)) break
    const candidates = await on.upstreams.all(model).catch(() => [])
    if (candidates.length === 0) continue
    if (!asker.isThere) break
    const text = `The usual model does not answer; ${model} takes its place`
    asker.tell({ type: 'status', text, isDone: true })
    try {
      return await beginWith(candidates, ask, gathered, on, journal, asker)
    } catch (thrown) {
      if (!MAY_FALL_BACK.has(toAppError(thrown).code)) throw thrown
    }
  }
  throw failure
}

/** A prompt that the server refuses as too long is composed once more, from a stricter estimate. */
async function beginWith(
  candidates: readonly Upstream[],
  ask: Ask,
  gathered: Gathered,
  on: BeginParts,
  journal: Journal,
  asker: Asker,
): Promise<Begun> {
  const [upstream] = candidates
  if (upstream === undefined) throw new AppError('unavailable', 'No server has the model any more; ask again')
  const profile = on.upstreams.profile(upstream)
  const { span } = ask.trail ?? silentTrail
  const composing = span.child('compose')
  const first = composeFor(ask, gathered, upstream, profile)
  composing.end({ tokens: first.prompt.tokens })
  try {
    return await place(first, candidates, ask, on, journal, asker)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'context_length') throw thrown
    on.metrics.promptRefused(upstream.model.name)
    const stricter = { ...profile, tokenRatio: profile.tokenRatio * STRICTER_RATIO }
    const second = composeFor(ask, gathered, upstream, stricter)
    return await place(second, candidates, ask, on, journal, asker)
  }
}

interface Composed {
  /** One of those that may be asked; which of them it was is known later. */
  upstream: Upstream
  prompt: Prompt
  /** What the model server is told, the character's own options included. */
  sampling: Sampling
  speaker?: Speaker
}

function composeFor(ask: Ask, { materials }: Gathered, upstream: Upstream, profile: ModelProfile): Composed {
  const { sampling } = ask
  if (materials === undefined) return { upstream, sampling, prompt: composePlain(ask, profile) }
  return { upstream, sampling, prompt: compose(ask, materials, profile), speaker: materials.speaker }
}

async function place(
  composed: Composed,
  candidates: readonly Upstream[],
  ask: Ask,
  on: BeginParts,
  journal: Journal,
  asker: Asker,
): Promise<Begun> {
  const { speaker, prompt } = composed
  journal.decide(composed)
  // Beside the answer: the next turn knows the exact size.
  const [system] = prompt.messages
  if (speaker !== undefined && system?.role === 'system')
    void on.upstreams.measure(composed.upstream, system.text)
  const steps = followCall(ask.trail?.span ?? silentSpan)
  const wish = {
    candidates,
    call: (upstream: Upstream) =>
      modelCall(ask, { ...composed, upstream }, on.cacheSalt(trustDomain(ask)), steps.send()),
    affinity: speaker === undefined ? 'no character' : `${speaker.characterId}@${String(speaker.version)}`,
    asker: { person: ask.person?.id ?? ask.keyId, isTask: ask.task !== undefined },
  }
  await asker.admitted
  try {
    const placed = await on.pool.place(wish, asker)
    journal.decide({ ...composed, upstream: placed.upstream })
    journal.queued(placed.queuedMs)
    ask.trail?.ignored(ignoredAt(placed.upstream, ask))
    const { first, rest, queuedMs } = placed
    return { prompt, upstream: placed.upstream, first, rest, queuedMs, release: steps.begun(placed.release) }
  } catch (thrown) {
    steps.failed(toAppError(thrown).code)
    throw thrown
  }
}

/** The people of one Open WebUI share their characters' prompts; whoever has a key, or is named by its holder, shares with nobody. */
const trustDomain = ({ surface, keyId, subUser }: Ask): string =>
  surface === 'open-webui' ? surface : (subUser ?? keyId)

/** Waiting for a place, then the call with the time to its first word; another server after a failure is another call. */
function followCall(span: Span) {
  const queueing = span.child('queue')
  let calling = silentSpan
  let waiting = silentSpan
  const end = (facts?: Facts) => {
    waiting.end(facts)
    calling.end(facts)
  }
  return {
    send() {
      queueing.end()
      end()
      calling = span.child('model call')
      waiting = calling.child('first token')
      return calling.traceparent
    },
    begun(release: () => void) {
      waiting.end()
      const answering = calling.child('answer')
      return () => {
        release()
        answering.end()
        calling.end()
      }
    },
    failed(errorCode: string) {
      queueing.end({ errorCode })
      end({ errorCode })
    },
  }
}

function modelCall(
  ask: Ask,
  { upstream, prompt, speaker }: Composed,
  cacheSalt: string,
  traceparent: string | undefined,
): ModelCall {
  let prefixTokens = 0
  for (const { place, dropped, tokens } of prompt.parts)
    if (place === 'prefix' && !dropped) prefixTokens += tokens
  const responseFormat = ask.responseFormat ?? taskFormat(ask.task)
  const model = upstream.model.name
  const thinking = thinkingFor(model, ask.thinking ?? (speaker && settingsOf(speaker.card).thinking))
  const call: ModelCall = {
    model,
    messages: messagesFor(model, prompt),
    stream: ask.stream,
    sampling: ask.sampling,
    contextTokens: prompt.budget.contextTokens,
    // The prompt of a warm-up is that of a turn, room for an answer included, or its beginning would be another one.
    maxTokens: ask.isWarmUp === true ? 1 : prompt.budget.replyTokens,
    keepTokens: prefixTokens,
    tools: prompt.tools,
    cacheSalt,
    extra: ask.extra,
  }
  if (ask.prompt !== undefined && prompt.layout === 'raw') call.prompt = ask.prompt
  if (ask.toolChoice !== undefined) call.toolChoice = ask.toolChoice
  if (responseFormat !== undefined) call.responseFormat = responseFormat
  if (thinking !== undefined) call.thinking = thinking
  if (ask.logprobs !== undefined) call.logprobs = ask.logprobs
  if (traceparent !== undefined) call.traceparent = traceparent
  return call
}
