/** What a figure says, as one plain sentence: the title above it. */
import { counted } from '../words.ts'
import { numberOf, type Figure, type Grain, type Row } from './figure.ts'
import { failureClasses, retentionGrid, timeParts } from './series.ts'
import { changeOf, duration, moment, money, percent, tell } from './telling.ts'

const FAILURES: Record<string, string> = {
  invalid: 'the request was malformed',
  unauthenticated: 'nobody proved who they are',
  forbidden: 'the person or key may not do this',
  not_found: 'what was asked for is not there',
  model_not_found: 'there is no such model',
  conflict: 'something else changed meanwhile',
  too_large: 'the request was too large',
  limited: 'a limit was reached',
  quota: 'a quota was used up',
  context_length: 'the prompt was too long for the model',
  upstream: 'the model server failed',
  upstream_timeout: 'the model server took too long',
  unavailable: 'something needed was away',
  cancelled: 'the client left',
  internal: 'Troupe made a mistake',
}

export const failureWords = (error: string): string => FAILURES[error] ?? `of “${error}”`

export function useFinding({ rows, total, base }: Figure): string {
  const answers = numberOf(total, 'messages') ?? 0
  if (answers === 0) return 'No answer was finished'
  const most = highest(rows, 'messages')
  const sentence = `${counted(answers, 'answer was', 'answers were')} finished`
  if (most === null || rows.length < 3) return sentence
  const count = numberOf(most, 'messages')
  // Of two that are equal, perhaps because they are rounded, neither is the highest.
  if (rows.filter((row) => row['messages'] === count).length > 1) return sentence
  const when = moment(numberOf(most, 'atMs') ?? 0, base)
  return `${sentence}, most of them ${WHEN[base.grain]} ${when} (${tell(count, 'count')})`
}

const WHEN: Record<Grain, string> = { hour: 'in the hour from', day: 'on', month: 'in' }

export function firstTokenFinding({ total, previous }: Figure): string {
  const p90 = numberOf(total, 'firstTokenP90')
  if (p90 === null) return 'No streamed answer was finished, so there are no times to first tokens'
  const change = changeOf(p90, numberOf(previous, 'firstTokenP90'), {
    unit: 'ms',
    better: 'less',
    elapsed: 1,
  })
  const sentence = `First tokens came within ${duration(p90)} for nine of ten answers`
  if (change === null) return sentence
  return change.tone === 'even' ? `${sentence}, ${change.words}` : `${sentence}, ${change.words} than before`
}

export function totalFinding({ total }: Figure): string {
  const p90 = numberOf(total, 'totalP90')
  if (p90 === null) return 'No answer was finished, so there are no times'
  const speed = numberOf(total, 'tokensPerSecond')
  const sentence = `Nine of ten answers were finished within ${duration(p90)}`
  return speed === null ? sentence : `${sentence}; models wrote ${tell(speed, 'count')} tokens a second`
}

export function timeFinding({ total }: Figure): string {
  const parts = timeParts(total)
  if (parts === null) return 'No model server told where the time went'
  const [most] = [...parts].sort((a, b) => b.share - a.share)
  if (most === undefined) return 'No model server told where the time went'
  const share = percent(most.share)
  if (most.key === 'rest') return `${share} of the time cannot be told apart`
  const words = most.label.charAt(0).toLowerCase() + most.label.slice(1)
  return most.share > 0.5
    ? `Most of the time went into ${words} (${share})`
    : `The largest part of the time went into ${words} (${share})`
}

/** From so much of the time on, a part is worth a word on what to do. */
const WORTH_A_WORD = 0.15

/** What can be done about the largest part that is not work. */
export function timeAdvice({ total }: Figure): string | null {
  const part = (key: string) => numberOf(total, key) ?? 0
  const cold = numberOf(total, 'coldCalls') ?? 0
  if (part('loadShare') >= WORTH_A_WORD)
    return `${counted(cold, 'call')} waited for a model to be loaded. Keep models loaded for longer, or use fewer of them on one machine.`
  if (part('queueShare') >= WORTH_A_WORD)
    return 'Calls waited for their turn: more was asked at the same time than the model server answers side by side.'
  if (part('prefillShare') >= 2 * WORTH_A_WORD)
    return 'Much of the time is reading. Shorter cards, lorebooks and documents, and prompts that begin alike, are read sooner.'
  return null
}

export function failureFinding(figure: Figure): string {
  const { total } = figure
  const failed = numberOf(total, 'failed') ?? 0
  const calls = numberOf(total, 'calls') ?? 0
  if (failed === 0) return `None of ${counted(calls, 'call')} failed`
  const [first] = failureClasses(figure).filter(({ error }) => error !== 'cancelled')
  const rate = numberOf(total, 'errorRate')
  const share = rate === null ? '' : ` (${percent(rate)})`
  const sentence = `${tell(failed, 'count')} of ${counted(calls, 'call')} failed${share}`
  return first === undefined ? sentence : `${sentence}, most often because ${failureWords(first.error)}`
}

export function commonFailureFinding({ rows }: Figure, nameOf: (row: Row) => string): string {
  const most = highest(rows, 'failures')
  if (most === null) return 'Nothing failed'
  const calls = counted(numberOf(most, 'failures') ?? 0, 'call')
  return `Most often: ${nameOf(most)}, because ${failureWords(String(most['error']))} (${calls})`
}

export function loreFinding({ total }: Figure): string {
  const rate = numberOf(total, 'loreRate')
  const calls = numberOf(total, 'calls') ?? 0
  if (rate === null) return 'Nothing was asked'
  if (rate === 0) return `No entry of a lorebook stood in ${counted(calls, 'prompt')}`
  return `Entries of lorebooks stood in ${percent(rate)} of ${counted(calls, 'prompt')}`
}

export function knowledgeFinding({ total }: Figure): string {
  const searches = numberOf(total, 'searches') ?? 0
  const rate = numberOf(total, 'knowledgeRate')
  if (searches === 0 || rate === null) return 'No documents were searched'
  return `${percent(rate)} of ${counted(searches, 'search', 'searches')} brought a passage into the prompt`
}

export function ratingFinding({ total }: Figure): string {
  if (total === null) return 'Thumbs and second tries'
  const [up, down] = [numberOf(total, 'up') ?? 0, numberOf(total, 'down') ?? 0]
  if (up + down === 0) return 'Nobody gave a thumb'
  return `${tell(up, 'count')} of ${counted(up + down, 'thumb')} were up (${percent(up / (up + down))})`
}

export function peopleFinding({ rows }: Figure): string {
  const monthly = numberOf(rows.at(-1) ?? null, 'monthly')
  const days = rows.map((row) => numberOf(row, 'daily')).filter((value) => value !== null)
  const usual = [...days].sort((a, b) => a - b)[Math.floor(days.length / 2)]
  if (monthly === null) return 'Fewer than five people asked something in the last thirty days'
  const sentence = `${counted(monthly, 'person', 'people')} asked something in the last thirty days`
  return usual === undefined || rows.length < 7
    ? sentence
    : `${sentence}; on a usual day it is ${tell(usual, 'people')}`
}

export function retentionFinding(figure: Figure): string {
  let [size, back] = [0, 0]
  for (const cohort of retentionGrid(figure)) {
    const [next] = cohort.later
    if (next == null) continue
    size += cohort.size
    back += next.people
  }
  if (size === 0) return 'Nobody has been here for more than a week yet'
  const share = percent(Math.min(1, back / size))
  return `Of ${counted(size, 'newcomer')}, ${tell(back, 'people')} asked something in the week after (${share})`
}

export function costFinding({ rows, total }: Figure, nameOf: (row: Row) => string): string {
  if (total === null) return 'What calls cost'
  const [priced, calls] = [numberOf(total, 'pricedCalls') ?? 0, numberOf(total, 'calls') ?? 0]
  if (priced === 0) return `None of ${counted(calls, 'call')} has a price`
  const cost = numberOf(total, 'cost') ?? 0
  const most = highest(rows, 'cost')
  const calledFor =
    priced === calls ? counted(calls, 'call') : `${tell(priced, 'count')} of ${counted(calls, 'call')}`
  const sentence = `${money(cost)} was spent on ${calledFor}`
  if (most === null || rows.length < 2) return sentence
  return `${sentence}, most of it on ${nameOf(most)} (${money(numberOf(most, 'cost') ?? 0)})`
}

/** Which row has most of something, and how much of all. */
export function mostFinding(
  { rows, total }: Figure,
  { key, noun, nouns, nameOf }: { key: string; noun: string; nouns: string; nameOf: (row: Row) => string },
): string {
  const most = highest(rows, key)
  if (most === null) return `No ${nouns} in this period`
  const [part, all] = [numberOf(most, key) ?? 0, numberOf(total, key)]
  if (rows.length === 1) return `${nameOf(most)}: ${counted(part, noun, nouns)}`
  const base =
    all === null || all < part
      ? counted(part, noun, nouns)
      : `${tell(part, 'count')} of ${counted(all, noun, nouns)}`
  return `${nameOf(most)} has the most: ${base}`
}

export function speedFinding({ rows }: Figure, nameOf: (row: Row) => string): string {
  const timed = rows.filter((row) => numberOf(row, 'firstTokenP90') !== null)
  const time = (row: Row) => numberOf(row, 'firstTokenP90') ?? 0
  const [fastest] = [...timed].sort((a, b) => time(a) - time(b))
  const slowest = highest(timed, 'firstTokenP90')
  if (fastest === undefined || slowest === null) return 'No streamed answer was finished'
  if (timed.length === 1) return `${nameOf(fastest)}: first tokens within ${duration(time(fastest))}`
  return `First tokens within ${duration(time(fastest))} from ${nameOf(fastest)}, within ${duration(time(slowest))} from ${nameOf(slowest)}`
}

export function againFinding({ total }: Figure): string {
  const rate = numberOf(total, 'regenerateRate')
  const calls = counted(numberOf(total, 'calls') ?? 0, 'call')
  if (rate === null || rate === 0) return `In none of ${calls} was another answer asked for`
  return `${percent(rate)} of ${calls} asked for another answer to the same message`
}

export function newcomersFinding({ rows }: Figure): string {
  const fresh = rows.map((row) => numberOf(row, 'fresh'))
  // Days of fewer than five are not told, so their sum is not known.
  if (fresh.includes(null)) return 'New people, and those who came back'
  const sum = fresh.reduce<number>((all, value) => all + (value ?? 0), 0)
  return sum === 0
    ? 'Nobody came for the first time'
    : `${counted(sum, 'person', 'people')} came for the first time`
}

function highest(rows: readonly Row[], key: string): Row | null {
  let most: Row | null = null
  for (const row of rows) if ((numberOf(row, key) ?? 0) > (numberOf(most, key) ?? 0)) most = row
  return most
}
