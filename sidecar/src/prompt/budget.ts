/** How the context window is shared between the answer and the parts of the prompt. */
import type { Budget, ModelProfile } from './prompt.ts'

/** An answer may fill at most half of the window; a chat that asks for nothing gets a quarter, at most 1,024 tokens. */
const LARGEST_REPLY_SHARE = 0.5
const DEFAULT_REPLY_SHARE = 0.25
const DEFAULT_REPLY_TOKENS = 1_024

/**
 * Kept free behind the history for what every turn brings anew: its words, and for characters that have them called-up lore
 * and passages. It depends on the character alone: were it what a turn really brings, lore that comes and goes would move
 * the cut to and fro.
 */
const WORDS_SHARE = 0.2
const LORE_RESERVE_SHARE = 0.1
const PASSAGES_RESERVE_SHARE = 0.15

/** Of the window. Sizes that differ by less from turn to turn (a date, an exact count) give the same room. */
const GRID_SHARE = 1 / 64

/** The answer's share, in the model's tokens; the prompt's share, in our estimated tokens. */
export function shareContext(profile: ModelProfile, maxTokens: number | undefined): Budget {
  const { contextTokens, tokenRatio } = profile
  const wanted = maxTokens ?? Math.min(DEFAULT_REPLY_TOKENS, Math.floor(contextTokens * DEFAULT_REPLY_SHARE))
  const replyTokens = Math.max(1, Math.min(wanted, Math.floor(contextTokens * LARGEST_REPLY_SHARE)))
  return { contextTokens, replyTokens, promptTokens: Math.floor((contextTokens - replyTokens) / tokenRatio) }
}

export interface Tail {
  /** Of note and instructions as the author wrote them: what macros make of them changes from turn to turn. */
  fixedTokens: number
  /** The last message, with what tools answered to it: a turn later it stands in the history. */
  wordsTokens: number
  /** Both, as they are in this turn. */
  alwaysTokens: number
  hasLore: boolean
  hasPassages: boolean
}

/** What the history may use, in tokens. */
export interface HistoryRoom {
  /** Equal in all turns of a chat. */
  steadyTokens: number
  /** What a last message of unusual length leaves of it. */
  nowTokens: number
  /** What the newest turns may have before lore and passages get anything. */
  mostTokens: number
}

/** `roomTokens` are left beside the prefix. */
export function historyRoom({ contextTokens }: Budget, roomTokens: number, tail: Tail): HistoryRoom {
  const grid = Math.max(1, Math.floor(contextTokens * GRID_SHARE))
  const room = Math.floor(roomTokens / grid) * grid
  const share =
    WORDS_SHARE + (tail.hasLore ? LORE_RESERVE_SHARE : 0) + (tail.hasPassages ? PASSAGES_RESERVE_SHARE : 0)
  const steadyTokens = Math.max(0, Math.floor(room * (1 - share)) - tail.fixedTokens)
  const mostTokens = Math.max(0, roomTokens - tail.alwaysTokens)
  const unusualTokens = Math.max(0, tail.wordsTokens - Math.floor((room * WORDS_SHARE) / 2))
  const nowTokens = Math.min(mostTokens, Math.max(0, steadyTokens - unusualTokens))
  return { steadyTokens, nowTokens, mostTokens }
}
