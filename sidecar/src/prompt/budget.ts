/** How the context window is shared between the answer and the parts of the prompt. */
import type { Budget, ModelProfile } from './prompt.ts'

/** An answer may fill at most half of the window; a chat that asks for nothing gets a quarter, at most 1,024 tokens. */
const LARGEST_REPLY_SHARE = 0.5
const DEFAULT_REPLY_SHARE = 0.25
const DEFAULT_REPLY_TOKENS = 1_024

/** Kept out of the history for the last user turn, so that an ordinary question never moves the cut. */
const TAIL_SHARE = 0.3

/** Longer last turns take room from the history in steps of this size, for the same reason. */
const TAIL_STEP_TOKENS = 256

/** The answer's share, in the model's tokens; the prompt's share, in our estimated tokens. */
export function shareContext(profile: ModelProfile, maxTokens: number | undefined): Budget {
  const { contextTokens, tokenRatio } = profile
  const wanted = maxTokens ?? Math.min(DEFAULT_REPLY_TOKENS, Math.floor(contextTokens * DEFAULT_REPLY_SHARE))
  const replyTokens = Math.max(1, Math.min(wanted, Math.floor(contextTokens * LARGEST_REPLY_SHARE)))
  return { contextTokens, replyTokens, promptTokens: Math.floor((contextTokens - replyTokens) / tokenRatio) }
}

/** What the history may use when `roomTokens` are left beside the prefix. Equal for all tails of ordinary length. */
export function historyBudget(roomTokens: number, tailTokens: number): number {
  const reserve = Math.floor(roomTokens * TAIL_SHARE)
  if (tailTokens <= reserve) return roomTokens - reserve
  return Math.max(0, roomTokens - Math.ceil(tailTokens / TAIL_STEP_TOKENS) * TAIL_STEP_TOKENS)
}
