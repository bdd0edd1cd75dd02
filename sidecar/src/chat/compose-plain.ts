/** Prompts without a persona: a background task of Open WebUI, or a base model that is asked by its own name. */
import type { Ask } from '#prompt/ask.ts'
import type { ModelProfile, Prompt } from '#prompt/prompt.ts'
import { composeRaw } from '#prompt/raw.ts'
import { composeTask } from '#prompt/task.ts'

export const composePlain = (ask: Ask, profile: ModelProfile): Prompt =>
  ask.task === undefined ? composeRaw(ask, profile) : composeTask(ask, profile)
