/** What is known of a model by its name decides where neither the request nor the character says anything. */
import type { Ask, ChatMessage, Thinking } from '#prompt/ask.ts'
import type { Prompt } from '#prompt/prompt.ts'
import { withoutSystemRole } from '#prompt/without-system.ts'
import { profileOf } from '#providers/model-profiles.ts'
import type { Upstream, Upstreams } from '#providers/upstreams.ts'

/** As the template of the model takes them. Whoever asks a base model by its own name writes its messages. */
export function messagesFor(model: string, { messages, layout }: Prompt): readonly ChatMessage[] {
  const isOurs = layout !== 'raw'
  return isOurs && profileOf(model)?.hasSystemRole === false ? withoutSystemRole(messages) : messages
}

/**
 * A model that can think does so unless it is told otherwise, and nobody has asked for the wait; one that cannot may refuse
 * the field. Undefined leaves it to the server.
 */
export function thinkingFor(model: string, wish: Thinking | undefined): Thinking | undefined {
  const profile = profileOf(model)
  if (profile === undefined) return wish
  return profile.thinks ? (wish ?? false) : undefined
}

/** False for a model that is known to take no pictures; what nobody knows is for its server to say. */
export async function takesPictures(
  name: string | undefined,
  upstreams: Pick<Upstreams, 'find'>,
): Promise<boolean> {
  try {
    const { model } = await upstreams.find(name)
    return model.sees ?? profileOf(model.name)?.sees ?? true
  } catch {
    // No server answers now, or none has it.
    return profileOf(name ?? '')?.sees ?? true
  }
}

/** Fields of the request that change nothing at this server, with this model. */
export function ignoredAt({ provider, model: { name } }: Upstream, ask: Ask): string[] {
  const cannotThink = profileOf(name)?.thinks === false && (ask.thinking ?? false) !== false
  return [
    ...(provider.ignores?.({ ...ask, model: name }) ?? []),
    ...(cannotThink ? ['reasoning_effort'] : []),
  ]
}
