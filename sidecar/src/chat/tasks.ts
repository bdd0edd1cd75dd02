/**
 * Open WebUI asks a character's own model for titles, tags and follow-ups. The `{{TASK}}` header says so; where an admin has
 * not configured it, these openings of Open WebUI 0.12's stock templates do.
 */
import { messageText, type ChatMessage } from '#prompt/ask.ts'

/** The hidden model that Open WebUI is told to use for its tasks. */
export const TASK_MODEL_ID = 'troupe-task'

/**
 * Longer than the bare `### Task:`, because the template around attached files begins with that as well, in real turns.
 * Source: the task templates seen on Open WebUI 0.12.4.
 */
const OPENINGS: readonly (readonly [task: string, opening: string])[] = [
  ['title_generation', '### Task:\nGenerate a concise title summarizing the chat history'],
  ['title_generation', '### Task:\nGenerate a concise, 3-5 word title'],
  ['follow_up_generation', '### Task:\nPredict 3-5 useful messages this user might naturally send next'],
  ['follow_up_generation', '### Task:\nSuggest 3-5 relevant follow-up questions'],
  ['tags_generation', '### Task:\nGenerate 1-3 broad tags categorizing'],
  ['query_generation', '### Task:\nAnalyze the chat history to determine the necessity'],
  ['autocomplete_generation', '### Task:\nYou are an autocompletion system'],
  ['image_prompt_generation', '### Task:\nGenerate a detailed prompt for am image generation task'],
  ['emoji_generation', "Your task is to reflect the speaker's likely facial expression"],
  ['moa_response_generation', 'You have been provided with a set of responses from various models'],
]

/** Those with a text of their own above, and those without. */
const KNOWN_TASKS = new Set([...OPENINGS.map(([name]) => name), 'function_calling', 'default'])

export interface TaskSigns {
  /** Value of the header; absent when empty or not configured. */
  header?: string | undefined
  model: string
  stream: boolean
  /** Id of the answer: only real turns carry one. */
  messageId?: string | undefined
  messages: readonly ChatMessage[]
}

/** The name of the task, or undefined for a turn of a person. */
export function taskOf(signs: TaskSigns): string | undefined {
  // Another word may be anything that somebody wrote; it says no more than that this is a task.
  if (signs.header !== undefined) return KNOWN_TASKS.has(signs.header) ? signs.header : 'task'
  const byText = taskByText(signs)
  if (byText !== undefined) return byText
  return signs.model === TASK_MODEL_ID ? 'task' : undefined
}

function taskByText({ stream, messageId, messages }: TaskSigns): string | undefined {
  const [only, ...others] = messages
  if (stream || messageId !== undefined || only?.role !== 'user' || others.length > 0) return undefined
  const text = messageText(only).trimStart()
  return OPENINGS.find(([, opening]) => text.startsWith(opening))?.[0]
}

/** A small model does not know when to end: one tag of it may fill all that it may write, for two minutes. */
const list = (name: string, mostCharacters: number) => ({
  [name]: { type: 'array', items: { type: 'string', maxLength: mostCharacters }, minItems: 1, maxItems: 5 },
})
const answerOf = (properties: Record<string, unknown>) => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
})

/** What Open WebUI looks for in the answer to a task; anything else it throws away. */
const ANSWERS: Readonly<Record<string, object>> = {
  title_generation: answerOf({ title: { type: 'string', minLength: 1, maxLength: 80 } }),
  tags_generation: answerOf(list('tags', 40)),
  follow_up_generation: answerOf(list('follow_ups', 160)),
  query_generation: answerOf(list('queries', 160)),
}

/**
 * The shape that the model server should hold a task's answer to. A small model asked in words alone rarely writes valid
 * JSON, and the chat is then called by its first words.
 */
export function taskFormat(task: string | undefined): unknown {
  const schema = task === undefined ? undefined : ANSWERS[task]
  return schema && { type: 'json_schema', json_schema: { name: 'answer', strict: true, schema } }
}
