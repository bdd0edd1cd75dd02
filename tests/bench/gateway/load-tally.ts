/** Adds up what the answers to one order were worth. */
import { clockUs } from './behaviour.ts'
import type { LoadResult, Order } from './load.ts'
import type { Exchange } from './load-line.ts'
import { toPercentiles } from './statistics.ts'

export interface Tally {
  onSent(): void
  sent(): number
  onBody(exchange: Exchange, bytes: Buffer): void
  onAnswer(exchange: Exchange): void
  /** A request without a whole answer, or a failure without a request. */
  onFailure(message: string, exchange?: Exchange): void
  result(): LoadResult
}

/** What comes after `untilUs` is still checked, but no longer counted as speed. */
export function createTally(order: Order, startedAtUs: number, untilUs: number): Tally {
  const totals = { sent: 0, finished: 0, tokens: 0, lost: 0, extra: 0, disordered: 0 }
  const errors: Record<string, number> = {}
  const latencies: number[] = []
  const firsts: number[] = []
  const delays: number[] = []
  let lastAtUs = startedAtUs

  const onFailure: Tally['onFailure'] = (message, exchange) => {
    errors[message] = (errors[message] ?? 0) + 1
    // Of a request that was refused, nothing was promised.
    if (exchange?.status === 200) totals.lost += exchange.counter.finish().lost
  }
  return {
    onSent: () => void (totals.sent += 1),
    sent: () => totals.sent,
    onFailure,
    onBody(exchange, bytes) {
      const nowUs = clockUs()
      exchange.counter.read(bytes, ({ sentAtUs }) => {
        if (nowUs > untilUs) return
        totals.tokens += 1
        delays.push((nowUs - sentAtUs) / 1_000)
        if (!exchange.hasToken) firsts.push((nowUs - exchange.dueAtUs) / 1_000)
        exchange.hasToken = true
      })
    },
    onAnswer({ status, counter, dueAtUs }) {
      if (status !== 200) {
        onFailure(`status ${status}`)
        return
      }
      const nowUs = clockUs()
      const { lost, extra, disordered, isEnded } = counter.finish()
      totals.lost += lost
      totals.extra += extra
      totals.disordered += disordered
      if (order.isStream && !isEnded) onFailure('ended without [DONE]')
      else if (lost + extra + disordered > 0) onFailure('tokens lost, extra or out of order')
      else if (nowUs <= untilUs) {
        totals.finished += 1
        latencies.push((nowUs - dueAtUs) / 1_000)
        lastAtUs = nowUs
      }
    },
    result: () => ({
      durationMs: ((Number.isFinite(untilUs) ? untilUs : lastAtUs) - startedAtUs) / 1_000,
      ...totals,
      errors,
      latencyMs: toPercentiles(latencies),
      firstTokenMs: toPercentiles(firsts),
      tokenDelayMs: toPercentiles(delays),
    }),
  }
}
