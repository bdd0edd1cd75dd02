/** What somebody reads who has asked too much: Open WebUI shows nothing but the sentence. Pure. */
import { AppError } from '#base/errors.ts'
import { MICRO } from '#base/prices.ts'

import type { NamedRule } from './quotas.ts'

/** Rounded up: who waits so long is let in. */
export const retryAfterSeconds = (waitMs: number): number => Math.max(1, Math.ceil(waitMs / 1_000))

/** Nobody knows when an answer ends. */
const PARALLEL_WAIT_MS = 2_000

export function refusal({ name, rule, period }: NamedRule, waitMs: number, nowMs: number): AppError {
  if (rule.kind === 'window') {
    const seconds = retryAfterSeconds(waitMs)
    const windowSeconds = rule.windowMs / 1_000
    const what = name === 'chat' ? 'messages' : 'background tasks'
    return new AppError(
      'limited',
      `Too many ${what}: ${String(rule.most)} in ${String(windowSeconds)} s is the limit. Try again in ${String(seconds)} s.`,
      { facts: { retryAfterSeconds: seconds, limitName: name, limitMost: rule.most, windowSeconds } },
    )
  }
  if (rule.kind === 'lease') {
    return new AppError(
      'limited',
      `${String(rule.most)} of your answers are being written; wait until one has ended, or stop one.`,
      { facts: { retryAfterSeconds: retryAfterSeconds(PARALLEL_WAIT_MS) } },
    )
  }
  const endsAtMs = period?.endsAtMs ?? nowMs
  const span = period?.name === 'day' ? 'today' : 'this month'
  return new AppError(
    'quota',
    `${usedUp(name, rule.most, span)} They begin anew in ${inWords(endsAtMs - nowMs)} (0:00 UTC).`,
    { facts: { retryAfterSeconds: retryAfterSeconds(endsAtMs - nowMs) } },
  )
}

function usedUp(name: string, most: number, span: string): string {
  if (name === 'budget') return `The ${String(most / MICRO)} of your budget of ${span} are used up.`
  if (name === 'turns') return `The ${String(most)} messages of ${span} are used up.`
  // What an answer may need is reserved before it is asked for.
  return `Of the ${String(most)} tokens of ${span} too few are left for this question and its answer.`
}

function inWords(ms: number): string {
  const minutes = Math.max(1, Math.ceil(ms / 60_000))
  const [days, hours] = [Math.floor(minutes / 1_440), Math.floor((minutes % 1_440) / 60)]
  if (days > 0) return `${String(days)} d ${String(hours)} h`
  return hours > 0 ? `${String(hours)} h ${String(minutes % 60)} min` : `${String(minutes)} min`
}
