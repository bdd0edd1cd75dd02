/** One chat turn, from the ask to the record. The only file that knows the order of the steps. */
import type { CallRecord } from '#analytics/record.ts'
import { AppError, toAppError } from '#base/errors.ts'
import type { Metrics } from '#base/metrics.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Ask, Sampling } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import type { ModelProfile, Prompt, Speaker } from '#prompt/prompt.ts'
import type { Delta } from '#providers/provider.ts'
import type { Upstream } from '#providers/upstreams.ts'

import { composePlain } from './compose-plain.ts'
import { gather, withOptions, type Gathered, type GatherParts } from './gather.ts'
import { chosenGreeting, speak } from './greeting.ts'
import { Journal, type JournalParts } from './journal.ts'
import type { Summaries } from './summary.ts'
import { taskFormat } from './tasks.ts'

export interface TurnParts extends JournalParts, GatherParts {
  /** Resolves once the record is committed. */
  record: (record: CallRecord) => Promise<void>
  summaries: Pick<Summaries, 'recall' | 'extend'>
  metrics: Metrics
}

/**
 * Streams the answer. Ends with exactly one `done`, which is handed out only after the call's record is committed.
 * Throws AppError before or after any delta; the record is committed before that as well. Stops within 100 ms when
 * `signal` aborts or the consumer leaves the loop.
 */
export type Turn = (ask: Ask, signal: AbortSignal) => AsyncGenerator<Delta, void, undefined>

export function createTurn(on: TurnParts): Turn {
  return async function* turn(ask, signal) {
    const journal = new Journal(ask, on)
    const close = async (status: CallRecord['status'], errorCode: string | null = null) => {
      if (journal.isClosed) return
      const record = journal.close(status, errorCode)
      await on.record(record)
      on.metrics.callFinished({ ...record, model: record.characterId ?? ask.model })
    }
    try {
      const gathered = await gather(ask, on)
      for await (const delta of answer(withOptions(ask, gathered), gathered, on, journal, signal)) {
        journal.see(delta)
        if (delta.type === 'done') {
          await close('ok')
          on.summaries.extend(ask, journal.decided, turn)
        }
        yield delta
      }
    } catch (thrown) {
      const error = toAppError(thrown)
      await close(error.code === 'cancelled' ? 'cancelled' : 'failed', error.code)
      throw error
    } finally {
      // The consumer left the loop: that is how a client that went away looks from here.
      await close('cancelled')
    }
  }
}

/** Compose and run; a prompt that the server refuses as too long is composed once more from a stricter estimate. */
async function* answer(ask: Ask, gathered: Gathered, on: TurnParts, journal: Journal, signal: AbortSignal) {
  const { upstream, materials } = gathered
  const greeting = materials && chosenGreeting(ask, materials)
  if (materials !== undefined && greeting !== undefined) {
    journal.decide({ speaker: materials.speaker })
    return yield* speak(greeting)
  }
  const profile = on.upstreams.profile(upstream)
  const first = composeFor(ask, gathered, profile)
  journal.decide(first)
  try {
    return yield* run(first, ask, on, signal)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'context_length') throw thrown
    on.metrics.promptRefused(upstream.model.name)
    const second = composeFor(ask, gathered, { ...profile, tokenRatio: profile.tokenRatio * STRICTER_RATIO })
    journal.decide(second)
    yield* run(second, ask, on, signal)
  }
}

/** A refused prompt was under-estimated; over the sample texts of `tests/e2e/context.test.ts` never by more than this. */
const STRICTER_RATIO = 2

interface Composed {
  upstream: Upstream
  prompt: Prompt
  /** What the model server is told, the character's own options included. */
  sampling: Sampling
  speaker?: Speaker
}

function composeFor(ask: Ask, { upstream, materials }: Gathered, profile: ModelProfile): Composed {
  const { sampling } = ask
  if (materials === undefined) return { upstream, sampling, prompt: composePlain(ask, profile) }
  return { upstream, sampling, prompt: compose(ask, materials, profile), speaker: materials.speaker }
}

async function* run(composed: Composed, ask: Ask, on: TurnParts, signal: AbortSignal) {
  const { upstream, prompt, speaker } = composed
  // Beside the answer: the next turn knows the exact size.
  const [system] = prompt.messages
  if (speaker !== undefined && system?.role === 'system') void on.upstreams.measure(upstream, system.text)
  let spoke = false
  for await (const delta of upstream.provider.stream(modelCall(ask, composed), signal)) {
    if (delta.type !== 'done') {
      spoke = true
      yield delta
      continue
    }
    if (!spoke) throw emptyAnswer(upstream)
    if (delta.usage !== undefined)
      on.upstreams.learn(upstream.model.name, prompt.tokens, delta.usage.promptTokens)
    yield delta
  }
}

function modelCall(ask: Ask, { upstream, prompt, speaker }: Composed) {
  const prefix = prompt.parts.filter((part) => part.place === 'prefix' && !part.dropped)
  const responseFormat = ask.responseFormat ?? taskFormat(ask.task)
  const thinking = ask.thinking ?? (speaker && settingsOf(speaker.card).thinking)
  return {
    model: upstream.model.name,
    messages: prompt.messages,
    ...(ask.prompt !== undefined && prompt.layout === 'raw' ? { prompt: ask.prompt } : {}),
    stream: ask.stream,
    sampling: ask.sampling,
    contextTokens: prompt.budget.contextTokens,
    maxTokens: prompt.budget.replyTokens,
    keepTokens: prefix.reduce((sum, part) => sum + part.tokens, 0),
    tools: prompt.tools,
    ...(ask.toolChoice === undefined ? {} : { toolChoice: ask.toolChoice }),
    ...(responseFormat === undefined ? {} : { responseFormat }),
    ...(thinking === undefined ? {} : { thinking }),
    ...(ask.logprobs === undefined ? {} : { logprobs: ask.logprobs }),
    extra: ask.extra,
  }
}

/** Open WebUI shows an empty answer as a blank bubble with buttons; a sentence says more. */
function emptyAnswer(upstream: Upstream): AppError {
  return new AppError(
    'upstream',
    `The model ${upstream.model.name} gave an empty answer; ask again or try another model`,
  )
}
