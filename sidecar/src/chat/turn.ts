/** One chat turn, from the ask to the record. The only file that knows the order of the steps. */
import type { CallDetails, CallRecord } from '#analytics/record.ts'
import { AppError, endedBy, toAppError, type ErrorCode } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'
import { during, silentTrail } from '#base/trail.ts'
import type { Ticket } from '#gateway/limits.ts'
import type { Ask } from '#prompt/ask.ts'
import { hasPictures } from '#prompt/history.ts'
import type { FinishReason, Told } from '#providers/provider.ts'
import type { Upstream } from '#providers/upstreams.ts'

import { Answer } from './answer.ts'
import { begin, type Asker, type BeginParts } from './begin.ts'
import { Beginning, type Deltas } from './beginning.ts'
import { citing, lookedUp, passageHits } from './citing.ts'
import { gather, withOptions, type Gathered, type GatherParts } from './gather.ts'
import { chosenGreeting, speak } from './greeting.ts'
import type { Sampler } from './sampler.ts'
import { Journal, type JournalParts } from './journal.ts'
import { ownName } from './own-name.ts'
import type { Summaries } from './summary.ts'

export interface TurnParts extends JournalParts, GatherParts, BeginParts {
  /** Resolves once the record is committed. */
  record: (record: CallRecord, details: CallDetails) => Promise<void>
  /** Throws AppError `unavailable` when no record could be written: an answer would be lost at its end. */
  admit: () => void
  summaries: Pick<Summaries, 'recall' | 'extend'>
  /** Absent where nothing is ever kept. */
  sampler?: Sampler
}

/**
 * Streams the answer, with notices for who waits for it. Ends with exactly one `done`, which is handed out only after the call's record is committed.
 * Throws AppError before or after any delta; the record is committed before that as well. Stops within 100 ms when
 * `signal` aborts or the consumer leaves the loop. No model is asked before the ticket is admitted; what is refused there leaves no
 * record, so that a flood writes nothing. The caller ends the ticket. Undefined only for what we ask ourselves: nothing limits
 * such a turn, so whoever wraps this has to hand the ticket on.
 */
export type Turn = (
  ask: Ask,
  signal: StopSignal,
  ticket: Ticket | undefined,
) => AsyncGenerator<Told, void, undefined>

export function createTurn(on: TurnParts): Turn {
  return async function* turn(ask, signal, ticket) {
    on.admit()
    const journal = new Journal(ask, on)
    const { trail = silentTrail } = ask
    const close = async (status: CallRecord['status'], errorCode: ErrorCode | null = null) => {
      if (journal.isClosed || ticket?.refusal() !== undefined) return
      const record = journal.close(status, errorCode)
      ticket?.spend(journal.spent(record))
      await during(trail.span, 'record', () => on.record(record, journal.details))
      const { characterId, baseModel, person } = record
      trail.note({ character: characterId, baseModel, person })
      // Never what the client wrote: a label is kept for ever.
      on.metrics.callFinished({
        model: characterId ?? baseModel ?? 'none',
        baseModel,
        kind: record.kind,
        status,
        upstream: record.upstream,
        firstTokenMs: record.firstTokenMs,
        totalMs: record.totalMs,
        loadMs: record.loadMs,
      })
    }
    let beginning: Beginning | undefined
    try {
      const gathered = await during(trail.span, 'gather', () => gather(ask, on))
      journal.searched(lookedUp(gathered.trace))
      const sampling = on.sampler?.begin(ask, gathered.materials?.speaker)
      if (sampling !== undefined) yield sampling.notice
      beginning = new Beginning({ signal, admitted: ticket?.admitted }, (asker) =>
        answer(withOptions(ask, gathered), gathered, on, journal, asker),
      )
      for (let notice; (notice = await beginning.notice()) !== undefined;) yield notice
      const deltas = await beginning.answer()
      journal.found(passageHits(gathered.materials?.knowledge, journal.decided.prompt))
      const sourcesBefore = citing(ask, journal.decided.prompt)
      let name = ownName(ask, journal.decided)
      for await (const delta of deltas) {
        journal.see(delta)
        const cited = sourcesBefore(delta)
        if (cited !== undefined) yield cited
        if (name !== undefined) {
          const words = name.see(delta)
          if (name.isOver) name = undefined
          if (words !== undefined) {
            sampling?.see(words)
            yield words
          }
          if (delta.type === 'text') continue
        }
        sampling?.see(delta)
        if (delta.type === 'done') {
          await close('ok')
          await sampling?.keep()
          on.summaries.extend(ask, journal.decided, (own, ending) => turn(own, ending, undefined))
        }
        yield delta
      }
    } catch (thrown) {
      const error = endedBy(signal) ?? toAppError(thrown)
      await close(error.code === 'cancelled' ? 'cancelled' : 'failed', error.code)
      throw error
    } finally {
      // The consumer left the loop: that is how a client that went away looks from here.
      beginning?.leave()
      await close('cancelled')
    }
  }
}

/** A greeting from the card, or what the model server says. */
async function answer(
  ask: Ask,
  gathered: Gathered,
  on: TurnParts,
  journal: Journal,
  asker: Asker,
): Promise<Deltas> {
  const greeting = gathered.materials && chosenGreeting(ask, gathered.materials)
  if (gathered.materials !== undefined && greeting !== undefined) {
    await asker.admitted
    journal.decide({ speaker: gathered.materials.speaker })
    return speak(greeting)
  }
  const begun = await begin(ask, gathered, on, journal, asker)
  const { upstream, prompt } = begun
  return new Answer(begun, {
    whenEmpty: (reason) => (showsBubbles(ask) ? emptyAnswer(upstream, reason) : undefined),
    onUsage({ promptTokens }) {
      // What a picture costs depends on its size: nothing is learned of words from it.
      if (!hasPictures(prompt.messages)) on.upstreams.learn(upstream.model.name, prompt.tokens, promptTokens)
    },
  })
}

/** Programs may well ask for nothing but what comes before a stop string, and a text to go on with may be complete. */
const showsBubbles = ({ surface, isWarmUp, prompt }: Ask): boolean =>
  surface === 'open-webui' && isWarmUp !== true && prompt === undefined

/** Open WebUI shows an empty answer as a blank bubble with buttons; a sentence says more. */
function emptyAnswer({ model }: Upstream, reason: FinishReason): AppError {
  const remedy = reason === 'length' ? 'let it write more tokens' : 'ask again or try another model'
  return new AppError('upstream', `The model ${model.name} gave an empty answer; ${remedy}`)
}
