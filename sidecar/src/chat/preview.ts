/** The prompt that a request would send, without calling a model. */
import type { Ask } from '#prompt/ask.ts'
import { composeExplained } from '#prompt/compose.ts'
import type { Explained, LoreLine, Prompt } from '#prompt/prompt.ts'

import { composePlain } from './compose-plain.ts'
import { gather, withOptions, type GatherParts } from './gather.ts'
import { messagesFor } from './known-model.ts'
import type { Looked } from './look-up.ts'

export interface Preview {
  baseModel: string
  upstream: string
  prompt: Prompt & {
    /** See `Explained`; without a character nothing is re-read, and no lorebook is looked into. */
    rereadTokens: number
    lore: readonly LoreLine[]
  }
  /** How passages were looked for. */
  knowledge?: Looked['trace']
}

export async function preview(ask: Ask, on: GatherParts): Promise<Preview> {
  const gathered = await gather(ask, on)
  const { upstream, materials } = gathered
  const profile = on.upstreams.profile(upstream)
  const { prompt, rereadTokens, lore }: Explained =
    materials === undefined
      ? { prompt: composePlain(ask, profile), rereadTokens: () => 0, lore: () => [] }
      : composeExplained(withOptions(ask, gathered), materials, profile)
  const { trace } = gathered
  return {
    baseModel: upstream.model.name,
    upstream: upstream.provider.name,
    prompt: {
      ...prompt,
      messages: messagesFor(upstream.model.name, prompt),
      rereadTokens: rereadTokens(),
      lore: lore(),
    },
    ...(trace !== undefined && { knowledge: trace }),
  }
}
