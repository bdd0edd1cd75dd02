/**
 * Which model made a vector, and how it was asked: distances between vectors of different fingerprints mean nothing. A model that was
 * trained with words before questions and texts finds far less without them (0.49 instead of 0.67 nDCG@10 on SciFact for
 * nomic-embed-text, below plain words), and Ollama adds none.
 */
import { AppError } from '#base/errors.ts'

export interface Prefixes {
  question: string
  passage: string
}

interface KnownModel {
  /** Of the model's name without its owner and its tag, in lower case. */
  name: RegExp
  prefixes: Prefixes
  /** It was trained on English: what is written in other letters means nothing to it. */
  isEnglish?: true
}

/** Measured with all-MiniLM on Cranfield and XQuAD (`npm run bench -- retrieval`). */
const KNOWN_WEIGHT = 0.5
/** It may want prefixes that it does not get. */
const UNKNOWN_WEIGHT = 0.3

const NONE: Prefixes = { question: '', passage: '' }
const BGE: Prefixes = { question: 'Represent this sentence for searching relevant passages: ', passage: '' }

/** As the models' own pages on the Hugging Face hub give them. The first that fits counts. */
const KNOWN_MODELS: readonly KnownModel[] = [
  {
    name: /^nomic-embed-text(?!-v2)/,
    prefixes: { question: 'search_query: ', passage: 'search_document: ' },
    isEnglish: true,
  },
  { name: /^nomic-embed-text/, prefixes: { question: 'search_query: ', passage: 'search_document: ' } },
  {
    name: /^multilingual-e5-.*instruct/,
    prefixes: {
      question: 'Instruct: Given a question, retrieve passages that answer the question\nQuery: ',
      passage: '',
    },
  },
  { name: /^multilingual-e5-/, prefixes: { question: 'query: ', passage: 'passage: ' } },
  { name: /^e5-/, prefixes: { question: 'query: ', passage: 'passage: ' }, isEnglish: true },
  { name: /^snowflake-arctic-embed2/, prefixes: { question: 'query: ', passage: '' } },
  { name: /^(mxbai-embed|snowflake-arctic-embed)/, prefixes: BGE, isEnglish: true },
  { name: /^bge-m3/, prefixes: NONE },
  { name: /^bge-.*-zh/, prefixes: { question: '为这个句子生成表示以用于检索相关文章：', passage: '' } },
  { name: /^bge-/, prefixes: BGE, isEnglish: true },
  {
    name: /^qwen3-embedding/,
    prefixes: {
      question:
        'Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:',
      passage: '',
    },
  },
  {
    name: /^embeddinggemma/,
    prefixes: { question: 'task: search result | query: ', passage: 'title: none | text: ' },
  },
  { name: /^paraphrase-multilingual/, prefixes: NONE },
  { name: /^(all-minilm|all-mpnet|paraphrase-)/, prefixes: NONE, isEnglish: true },
  { name: /^(text-embedding-|granite-embedding)/, prefixes: NONE },
]

export interface Scheme {
  prefixes: Prefixes
  /** False for a model that nobody here knows: it may want prefixes that it does not get, and counts half. */
  isKnown: boolean
  isEnglish: boolean
}

/** `hf.co/owner/Name-GGUF:Q8` and `owner/name:tag` are asked for like `name`. */
export function schemeOf(model: string): Scheme {
  const name = (model.split('/').at(-1) ?? model).toLowerCase().replace(/:.*$/, '')
  const known = KNOWN_MODELS.find((candidate) => candidate.name.test(name))
  return {
    prefixes: known?.prefixes ?? NONE,
    isKnown: known !== undefined,
    isEnglish: known?.isEnglish === true,
  }
}

const LATIN = /\p{Script=Latin}/gu
const LETTERS = /\p{L}/gu

/** How much the meaning counts beside the words (which count 1): nothing where the model cannot read the text. */
export function weightOf(fingerprint: string, text: string): number {
  const { isKnown, isEnglish } = schemeOf(modelOf(fingerprint) ?? '')
  if (isEnglish && count(text, LATIN) < count(text, LETTERS) / 2) return 0
  return isKnown ? KNOWN_WEIGHT : UNKNOWN_WEIGHT
}

const count = (text: string, of: RegExp) => text.match(of)?.length ?? 0

/** Raised when texts are put to the models in another way. */
const VERSION = 1

export function fingerprintOf(model: string, dimensions: number): string {
  const { question, passage } = schemeOf(model).prefixes
  return JSON.stringify([VERSION, model, dimensions, question, passage])
}

/** The model that a fingerprint is of, so that an old index is still asked in its own terms; undefined for other text. */
export function modelOf(fingerprint: string): string | undefined {
  try {
    const parts: unknown = JSON.parse(fingerprint)
    const [version, model, dimensions] = Array.isArray(parts) ? (parts as unknown[]) : []
    if (version !== VERSION || typeof model !== 'string' || typeof dimensions !== 'number') return undefined
    return fingerprintOf(model, dimensions) === fingerprint ? model : undefined
  } catch {
    // Not one of ours: of an older way to ask, whose vectors no question can be compared with any more.
    return undefined
  }
}

export function otherLength(dimensions: number): AppError {
  return new AppError(
    'invalid',
    `The vectors have another length than the ${String(dimensions)} numbers of those that lie there; index the base again`,
    { facts: { dimensions } },
  )
}
