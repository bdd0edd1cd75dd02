/** What is recorded of model calls, and what is made of it. `docs/analytics.md` says what each figure means. */
import type { Kit } from './kit.sqlite.ts'

/** How passages were looked for, without a word of the question, of a document or of an error. */
export interface LookedUp {
  /** What was asked for the meaning; null for words alone. */
  store: string | null
  /** Null where nothing could be judged. Similarity and floor are cosines; null where words alone were compared. */
  gate: {
    passes: boolean
    reason: string
    strength: number
    coverage: number
    similarity: number | null
    floor: number | null
  } | null
  /** What was late or away. */
  notes: { code: string; what: string }[]
  /** The best, with what became of each: `words` is BM25, `meaning` a cosine. */
  pieces: {
    chunk: number
    document: string
    words: number | null
    meaning: number | null
    score: number
    fate: string
  }[]
  isCached: boolean
  milliseconds: { words: number; meaning: number; rerank: number; total: number }
}

/** The parts of a prompt without their texts. */
export interface Anatomy {
  layout: string
  parts: {
    kind: string
    place: string
    label: string
    tokens: number
    reason: string
    dropped: boolean
  }[]
  /** The turns of the chat, of which there may be hundreds, in one line. */
  history: { turns: number; cutTurns: number; tokens: number }
  /** Length of what was said, thoughts included, where the answer broke off: its tokens are not known then. */
  saidCharacters?: number
  /** Parameters that the model server was sent. */
  options: Record<string, string | number | boolean>
  /** Absent where nothing was searched. */
  knowledge?: LookedUp
}

export function defineAnalyticsTables(k: Kit) {
  const callRecords = k.table(
    'call_records',
    {
      id: k.text('id').primaryKey(),
      startedAtMs: k.epochMs('started_at_ms').notNull(),
      /** When it was written into this table; later than the call where it waited in an outbox. */
      recordedAtMs: k.epochMs('recorded_at_ms'),
      kind: k.text('kind').notNull(),
      task: k.text('task'),
      surface: k.text('surface').notNull(),
      keyId: k.text('key_id').notNull(),
      person: k.text('person'),
      groups: k.json<string[]>('groups'),
      chat: k.text('chat'),
      message: k.text('message'),
      userMessage: k.text('user_message'),
      turn: k.int('turn'),
      characterId: k.text('character_id'),
      characterVersion: k.int('character_version'),
      baseModel: k.text('base_model'),
      upstream: k.text('upstream'),
      streamed: k.bool('streamed').notNull(),
      status: k.text('status').notNull(),
      errorCode: k.text('error_code'),
      httpStatus: k.int('http_status'),
      finishReason: k.text('finish_reason'),
      contextTokens: k.int('context_tokens'),
      estimatedPromptTokens: k.int('estimated_prompt_tokens'),
      promptTokens: k.int('prompt_tokens'),
      completionTokens: k.int('completion_tokens'),
      reasoningTokens: k.int('reasoning_tokens'),
      cachedTokens: k.int('cached_tokens'),
      cachedIsEstimate: k.bool('cached_is_estimate'),
      tokensByPart: k.json<Record<string, number>>('tokens_by_part').notNull(),
      cutTurns: k.int('cut_turns').notNull(),
      loreFired: k.int('lore_fired'),
      passages: k.int('passages'),
      topScore: k.float('top_score'),
      toolCalls: k.int('tool_calls'),
      prefixHash: k.text('prefix_hash'),
      assembleMs: k.float('assemble_ms'),
      queueMs: k.float('queue_ms'),
      firstTokenMs: k.float('first_token_ms'),
      totalMs: k.float('total_ms').notNull(),
      loadMs: k.float('load_ms'),
      prefillMs: k.float('prefill_ms'),
      decodeMs: k.float('decode_ms'),
      /** Millionths of the currency. */
      costMicro: k.epochMs('cost_micro'),
      /** What the prompt was made of and how it was asked for, without a word of it; null where there was no prompt. */
      anatomy: k.json<Anatomy>('anatomy'),
    },
    (t) => [
      k.index('call_records_started').on(t.startedAtMs),
      k.index('call_records_recorded').on(t.recordedAtMs),
      k.index('call_records_message').on(t.message),
      k.index('call_records_user_message').on(t.userMessage),
    ],
  )

  /** Entries of lorebooks that a call was about: those in the prompt, and those for which there was no room. */
  const loreHits = k.table(
    'lore_hits',
    {
      recordId: k.text('record_id').notNull(),
      position: k.int('position').notNull(),
      startedAtMs: k.epochMs('started_at_ms').notNull(),
      characterId: k.text('character_id').notNull(),
      /** The author's name of the entry. */
      entry: k.text('entry').notNull(),
      tokens: k.int('tokens').notNull(),
      isDropped: k.bool('is_dropped').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.recordId, t.position] }),
      k.index('lore_hits_started').on(t.startedAtMs),
    ],
  )

  /** Passages of documents that were found for a call. */
  const passageHits = k.table(
    'passage_hits',
    {
      recordId: k.text('record_id').notNull(),
      position: k.int('position').notNull(),
      startedAtMs: k.epochMs('started_at_ms').notNull(),
      characterId: k.text('character_id').notNull(),
      document: k.text('document').notNull(),
      chunk: k.text('chunk').notNull(),
      score: k.float('score').notNull(),
      /** It stood in the prompt. */
      isUsed: k.bool('is_used').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.recordId, t.position] }),
      k.index('passage_hits_started').on(t.startedAtMs),
    ],
  )

  const ratings = k.table(
    'ratings',
    {
      id: k.text('id').primaryKey(),
      message: k.text('message').notNull(),
      /** 1 or -1; 0 for one that was taken back, so that figures learn of it. */
      value: k.int('value').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
      recordedAtMs: k.epochMs('recorded_at_ms'),
      source: k.text('source'),
    },
    (t) => [k.index('ratings_message').on(t.message), k.index('ratings_recorded').on(t.recordedAtMs)],
  )

  return { callRecords, loreHits, passageHits, ratings, ...defineRollUps(k) }
}

function defineRollUps(k: Kit) {
  /**
   * Calls of an hour, a day or a month by everything that figures ask for; `group_name` is `*` for all calls, whatever the
   * group. In one row for each group, since a row for each cell would be as many as there are calls.
   */
  const rollUps = k.table(
    'roll_ups',
    {
      grain: k.text('grain').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
      groupName: k.text('group_name').notNull(),
      /** Sums, histograms and sketches of people, packed by `analytics/packed-cells.ts`. */
      cells: k.text('cells').notNull(),
      /** The same by the kind of call only: most of what a dashboard shows asks for no more. */
      totals: k.text('totals').notNull(),
    },
    // Time comes before the group: an hour is replaced as a whole, and is one stretch of the index.
    (t) => [k.primaryKey({ columns: [t.grain, t.atMs, t.groupName] })],
  )

  /** How often an entry of a lorebook or a document was used in a day or a month. */
  const itemRollUps = k.table(
    'item_roll_ups',
    {
      grain: k.text('grain').notNull(),
      /** lore or document. */
      kind: k.text('kind').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
      characterId: k.text('character_id').notNull(),
      item: k.text('item').notNull(),
      used: k.int('used').notNull(),
      dropped: k.int('dropped').notNull(),
      tokens: k.epochMs('tokens').notNull(),
      scoreSum: k.float('score_sum').notNull(),
      /** Sketch of those whose turns these were; null for nobody that is known. */
      people: k.text('people'),
    },
    (t) => [k.primaryKey({ columns: [t.grain, t.kind, t.atMs, t.characterId, t.item] })],
  )

  /**
   * Who talked on a day, to whom (`*` for anybody) and as whose member (`*` for all people): numbers of `people`, packed by
   * `analytics/person-set.ts`. Kept as long as call records.
   */
  const personSets = k.table(
    'person_sets',
    {
      characterId: k.text('character_id').notNull(),
      groupName: k.text('group_name').notNull(),
      dayMs: k.epochMs('day_ms').notNull(),
      members: k.bytes('members').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.characterId, t.groupName, t.dayMs] }),
      k.index('person_sets_day').on(t.dayMs),
    ],
  )

  /** Whoever is erased is not in it any more; their number, which is given to nobody else, then stands for nobody. */
  const people = k.table(
    'people',
    {
      number: k.serial('number'),
      person: k.text('person').notNull(),
      firstDayMs: k.epochMs('first_day_ms').notNull(),
      lastDayMs: k.epochMs('last_day_ms').notNull(),
    },
    (t) => [k.uniqueIndex('people_person').on(t.person)],
  )

  /** Numbers of people, kept when the pseudonyms are gone. */
  const peopleRollUps = k.table(
    'people_roll_ups',
    {
      dayMs: k.epochMs('day_ms').notNull(),
      characterId: k.text('character_id').notNull(),
      groupName: k.text('group_name').notNull(),
      day: k.int('day').notNull(),
      /** In the seven days that end with this one, and in the thirty. */
      week: k.int('week').notNull(),
      month: k.int('month').notNull(),
      /** Who was never seen before. */
      fresh: k.int('fresh').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.characterId, t.groupName, t.dayMs] }),
      k.index('people_roll_ups_day').on(t.dayMs),
    ],
  )

  /** Of the people first seen in one week, those who talked in a later one. */
  const cohortRollUps = k.table(
    'cohort_roll_ups',
    {
      weekMs: k.epochMs('week_ms').notNull(),
      cohortMs: k.epochMs('cohort_ms').notNull(),
      characterId: k.text('character_id').notNull(),
      groupName: k.text('group_name').notNull(),
      people: k.int('people').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.characterId, t.groupName, t.weekMs, t.cohortMs] }),
      k.index('cohort_roll_ups_week').on(t.weekMs),
    ],
  )

  /** Hours, days, weeks and months whose figures have to be made anew. */
  const rollUpQueue = k.table(
    'roll_up_queue',
    { grain: k.text('grain').notNull(), atMs: k.epochMs('at_ms').notNull() },
    (t) => [k.primaryKey({ columns: [t.grain, t.atMs] })],
  )

  /** How far the roll-ups are, by name. */
  const rollUpMarks = k.table('roll_up_marks', {
    name: k.text('name').primaryKey(),
    atMs: k.epochMs('at_ms').notNull(),
  })

  return { rollUps, itemRollUps, personSets, people, peopleRollUps, cohortRollUps, rollUpQueue, rollUpMarks }
}
