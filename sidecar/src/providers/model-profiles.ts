/**
 * What is known of well-known models, by their names: facts that no server tells (how their makers want them to be sampled),
 * and those that help to choose one before it is there. A value that its makers do not publish is left out.
 */
import type { Sampling } from '#prompt/ask.ts'

export interface ModelTraits {
  /** For people, e.g. `Llama 3.2`. */
  title: string
  /** Tokens that it was trained for. */
  trainedContextTokens: number
  /** Asked for where no setting says otherwise: enough for a character and a long chat, and what a home machine can hold. */
  contextTokens: number
  /** False where the template of the makers has no system role: its text then becomes a part of a user's turn. */
  hasSystemRole: boolean
  /** It can think before it answers. */
  thinks: boolean
  /** It takes pictures. */
  sees: boolean
  /** It was trained to call tools; absent where sources differ. */
  callsTools?: boolean
  /** As published by the makers; empty where they publish nothing. */
  sampling: Sampling
  /** The same for answers with thinking, where it differs. */
  thinkingSampling?: Sampling
  /** Tags of Ollama's library with the size of their download, rounded as ollama.com shows it. */
  pulls: readonly { name: string; sizeBytes: number }[]
}

interface ModelProfile extends ModelTraits {
  /** Of the plain name (`plainName`): family and size, and what may follow. */
  pattern: RegExp
}

const LLAMA_3 = {
  hasSystemRole: true,
  thinks: false,
  sees: false,
  callsTools: true,
  trainedContextTokens: 131_072,
} as const

const GEMMA_3 = {
  // "Gemma formatting and system instructions", ai.google.dev: the only roles are user and model.
  hasSystemRole: false,
  thinks: false,
  callsTools: false,
  contextTokens: 8_192,
  // generation_config.json of google/gemma-3-4b-it (top_k, top_p); 1.0 is the temperature where that file names none.
  sampling: { temperature: 1, topK: 64, topP: 0.95 },
} as const

/** Quantizations and formats: they change how well a model does, not what it is. */
const SAME_MODEL =
  '(?:-(?:latest|gguf|hf|awq|gptq|mlx|unsloth|bnb|imatrix|qat|fp8|fp16|f16|f32|bf16|int4|int8|[48]bit|ud|' +
  String.raw`i?q\d(?:-(?:\d|k|nl|xxs|xs|s|m|l|xl))*))*$`

/**
 * `chat` is the makers' word for a model that was trained to chat. In Ollama's library a tag without it is that model; anywhere
 * else it is the one before, which only completes texts.
 */
const named = (family: string, sizes: string, chat: string): RegExp =>
  new RegExp(`^(?:ollama/${family}(?:-${sizes})?(?:-${chat})?|${family}-${sizes}-${chat})${SAME_MODEL}`)

const PROFILES: readonly ModelProfile[] = [
  {
    ...LLAMA_3,
    title: 'Llama 3.2',
    pattern: named('llama-?3\\.2', '[13]b', 'instruct'),
    contextTokens: 16_384,
    // generation_config.json of meta-llama/Llama-3.2-1B-Instruct.
    sampling: { temperature: 0.6, topP: 0.9 },
    pulls: [{ name: 'llama3.2:1b', sizeBytes: 1_300_000_000 }],
  },
  {
    ...LLAMA_3,
    title: 'Llama 3.1',
    pattern: named('llama-?3\\.1', '(?:8|70|405)b', 'instruct'),
    contextTokens: 8_192,
    // generation_config.json of meta-llama/Llama-3.1-8B-Instruct.
    sampling: { temperature: 0.6, topP: 0.9 },
    pulls: [{ name: 'llama3.1:8b', sizeBytes: 4_700_000_000 }],
  },
  {
    title: 'Code Llama',
    pattern: named('codellama', '(?:7|13|34)b', 'instruct'),
    // Model card codellama/CodeLlama-13b-Instruct-hf: trained on sequences of 16k tokens.
    trainedContextTokens: 16_384,
    // Its keys and values are not shared between heads: a token takes six times the memory of Llama 3.1 8B's.
    contextTokens: 4_096,
    hasSystemRole: true,
    thinks: false,
    sees: false,
    callsTools: false,
    // Meta's llama-recipes, "Code Llama".
    sampling: { temperature: 0.2, topP: 0.9 },
    pulls: [{ name: 'codellama:13b', sizeBytes: 7_400_000_000 }],
  },
  {
    title: 'Mistral 7B',
    pattern: named('mistral', '7b', 'instruct(?:-v0\\.3)?'),
    // config.json and model card of mistralai/Mistral-7B-Instruct-v0.3; the card publishes no sampling.
    trainedContextTokens: 32_768,
    contextTokens: 8_192,
    // Its template puts the text before the last user turn, those of v0.1 and v0.2 refuse it.
    hasSystemRole: false,
    thinks: false,
    sees: false,
    callsTools: true,
    sampling: {},
    pulls: [{ name: 'mistral:7b', sizeBytes: 4_100_000_000 }],
  },
  {
    title: 'Qwen 3',
    pattern: new RegExp(
      `^(?:ollama/qwen3|qwen-?3)(?:-(?:0\\.6|1\\.7|4|8|14|32)b|-30b(?:-a3b)?|-235b(?:-a22b)?)?${SAME_MODEL}`,
    ),
    // Model card Qwen/Qwen3-8B: natively; and its "Best Practices".
    trainedContextTokens: 32_768,
    contextTokens: 8_192,
    hasSystemRole: true,
    thinks: true,
    sees: false,
    callsTools: true,
    sampling: { temperature: 0.7, topP: 0.8, topK: 20, minP: 0 },
    thinkingSampling: { temperature: 0.6, topP: 0.95, topK: 20, minP: 0 },
    pulls: [{ name: 'qwen3:8b', sizeBytes: 5_200_000_000 }],
  },
  {
    ...GEMMA_3,
    title: 'Gemma 3',
    pattern: named('gemma-?3', '(?:4|12|27)b', 'it'),
    // Model card google/gemma-3-4b-it: 128K for 4B and more, with pictures.
    trainedContextTokens: 131_072,
    sees: true,
    pulls: [{ name: 'gemma3:4b', sizeBytes: 3_300_000_000 }],
  },
  {
    ...GEMMA_3,
    title: 'Gemma 3, 1B and less',
    pattern: named('gemma-?3', '(?:1b|270m)', 'it'),
    // Model card google/gemma-3-1b-it: 32K, text only.
    trainedContextTokens: 32_768,
    sees: false,
    pulls: [{ name: 'gemma3:1b', sizeBytes: 815_000_000 }],
  },
  {
    title: 'SmolLM2',
    pattern: named('smollm2', '(?:135m|360m|1\\.7b)', 'instruct'),
    // config.json of HuggingFaceTB/SmolLM2-135M-Instruct; sampling as in the usage of its model card.
    trainedContextTokens: 8_192,
    contextTokens: 8_192,
    hasSystemRole: true,
    thinks: false,
    sees: false,
    sampling: { temperature: 0.2, topP: 0.9 },
    pulls: [{ name: 'smollm2:135m', sizeBytes: 271_000_000 }],
  },
]

/** What Troupe knows of well-known models, for people. */
export const MODEL_PROFILES: readonly ModelTraits[] = PROFILES.map(
  ({ pattern: _pattern, ...traits }) => traits,
)

/**
 * What is known of a base model by its name alone: a tag of Ollama (`llama3.2:1b`), a repository of Hugging Face
 * (`meta-llama/Llama-3.1-8B-Instruct`) or a file (`SmolLM2-135M-Instruct-Q4_1.gguf`). Undefined for every other name, also for
 * a relative of a known model: one that only completes texts, sees, codes, or was trained further by somebody else.
 */
export function profileOf(name: string): ModelTraits | undefined {
  if (found.has(name)) return found.get(name)
  const plain = plainName(name)
  const traits = PROFILES.find(({ pattern }) => pattern.test(plain))
  if (found.size >= NAMES_KEPT) found.clear()
  found.set(name, traits)
  return traits
}

/** Asked for in every turn. Names come from model servers. */
const found = new Map<string, ModelTraits | undefined>()
const NAMES_KEPT = 1_000

const LIBRARY = /^(?:registry\.ollama\.ai\/)?library\//

/** In small letters with `-` between all parts, without owner and ending; `ollama/` before what Ollama's library has. */
function plainName(name: string): string {
  const own = name.replace(LIBRARY, '')
  const isOllamas = /^[a-z\d][a-z\d.-]*(?::[\w.-]+)?$/.test(own) && !own.endsWith('.gguf')
  const plain = own
    .slice(own.lastIndexOf('/') + 1)
    .toLowerCase()
    .replace(/\.gguf$/, '')
    .replaceAll(/[_:\s]|\.(?=i?q\d|b?f\d\d|fp\d)/g, '-')
    // Whoever converts a model likes to put its maker in front.
    .replace(/^(?:meta|google|mistralai|huggingfacetb|qwen(?=-qwen))-/, '')
  return isOllamas ? `ollama/${plain}` : plain
}
