/** What `/v1` servers tell of their models: vLLM and llama.cpp more than the list of OpenAI has room for. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { type Connection, parseJson } from './connection.ts'
import type { BaseModel } from './provider.ts'
import { refusalError } from './refusal.ts'

const ModelRow = z.object({
  id: z.string(),
  owned_by: z.string().nullish(),
  /** vLLM: the window that it was started with. */
  max_model_len: z.number().nullish(),
  /** llama.cpp: the window of one slot, and the one that the model was trained for. */
  meta: z.object({ n_ctx: z.number().nullish(), n_ctx_train: z.number().nullish() }).nullish(),
})

const ModelList = z.object({ data: z.array(ModelRow) })

/** llama.cpp divides its window among its slots; this is the share of one. */
const Props = z.object({
  default_generation_settings: z.object({ n_ctx: z.number() }),
  total_slots: z.number().int().positive().optional(),
  modalities: z.object({ vision: z.boolean() }).optional(),
})

export async function listModels(
  connection: Connection,
  api: string,
  ofVllm: Set<string>,
  signal: AbortSignal,
): Promise<BaseModel[]> {
  const { words } = connection
  const reply = await connection.ask(`${api}/models`, undefined, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, '', words)
  const list = ModelList.safeParse(parseJson(reply.text))
  if (!list.success) {
    throw new AppError(
      'upstream',
      `${words.title} at ${words.name} gave no list of models; its URL has to end in /v1`,
    )
  }
  const rows = list.data.data
  for (const { id, owned_by } of rows) if (owned_by === 'vllm') ofVllm.add(id)
  const slots = await readSlots(connection, rows, signal)
  const waiting = await readWaiting(connection, rows, signal)
  return rows.map((row) => {
    const contextTokens =
      row.max_model_len ??
      slots?.default_generation_settings.n_ctx ??
      row.meta?.n_ctx ??
      row.meta?.n_ctx_train
    return {
      name: row.id,
      chats: !isEmbedder(row.id),
      ...(typeof contextTokens === 'number' && { contextTokens }),
      ...(slots?.total_slots !== undefined && { parallel: slots.total_slots }),
      ...(slots?.modalities !== undefined && { sees: slots.modalities.vision }),
      ...given(waiting.get(row.id)),
    }
  })
}

const Count = z.union([
  z.looseObject({ count: z.number() }).transform(({ count }) => count),
  z.looseObject({ tokens: z.array(z.unknown()) }).transform(({ tokens }) => tokens.length),
])

/** vLLM reads `prompt` and tells a count, llama.cpp reads `content` and tells the tokens; both stand beside `/v1`. */
export async function countTokens(connection: Connection, model: string, text: string, signal: AbortSignal) {
  const body = { model, prompt: text, content: text, add_special_tokens: false, add_special: false }
  const reply = await connection.ask('/tokenize', body, signal)
  const count = Count.safeParse(parseJson(reply.text))
  return reply.status === 200 && count.success ? count.data : undefined
}

/** No list says what a model is for (llama.cpp's claims `completion` for all), but the names of embedding models do. */
function isEmbedder(name: string): boolean {
  return /embed/i.test(name)
}

/** Only a llama.cpp server with one model can be asked: one that routes would load a model to answer. */
async function readSlots(
  connection: Connection,
  rows: readonly z.infer<typeof ModelRow>[],
  signal: AbortSignal,
): Promise<z.infer<typeof Props> | undefined> {
  if (rows.length !== 1 || rows[0]?.owned_by !== 'llamacpp') return undefined
  const reply = await connection.ask('/props', undefined, signal)
  const props = Props.safeParse(parseJson(reply.text))
  return reply.status === 200 && props.success ? props.data : undefined
}

const given = (waiting: number | undefined) => (waiting === undefined ? {} : { waiting })

/** A line of vLLM's figures: one for each model and engine. */
const WAITING = /^vllm:num_requests_waiting\{([^}]*)\}\s+(\S+)/gm
const MODEL_LABEL = /(?:^|,)model_name="([^"]*)"/

/** Calls that wait there, ours and those of others, by model; empty for every other server. */
async function readWaiting(
  connection: Connection,
  rows: readonly z.infer<typeof ModelRow>[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const waiting = new Map<string, number>()
  if (!rows.some(({ owned_by }) => owned_by === 'vllm')) return waiting
  const reply = await connection.ask('/metrics', undefined, signal)
  if (reply.status !== 200) return waiting
  for (const [, labels = '', value] of reply.text.matchAll(WAITING)) {
    const model = MODEL_LABEL.exec(labels)?.[1] ?? ''
    waiting.set(model, (waiting.get(model) ?? 0) + Number(value))
  }
  return waiting
}
