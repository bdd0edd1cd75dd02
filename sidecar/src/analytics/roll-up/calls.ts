/** The calls of a period, with what others said about them. */
import { and, asc, gte, lt, sql } from 'drizzle-orm'

import type { Store } from '#store/store.ts'

import type { CountedCall } from '../cell.ts'
import type { CallRecord } from '../record.ts'
import type { Dimensions } from '../packed-cells.ts'

export type Call = CountedCall & Dimensions & { startedAtMs: number; groups: readonly string[] }

/** However busy an hour is, so many are held at once. */
const CALLS_AT_ONCE = 5_000

/** Of [fromMs, untilMs), in the order of time; never an empty piece. */
export async function* readCalls(store: Store, fromMs: number, untilMs: number): AsyncGenerator<Call[]> {
  let sinceMs = fromMs
  let sinceId = ''
  for (;;) {
    const rows = await readPiece(store, sinceMs, sinceId, untilMs)
    const last = rows.at(-1)
    if (last === undefined) return
    const groupsIn = new Map<string, readonly string[]>()
    yield rows.map((row) => toCall(row, groupsIn))
    if (rows.length < CALLS_AT_ONCE) return
    ;[sinceMs, sinceId] = [last.startedAtMs, last.id]
  }
}

type Row = Awaited<ReturnType<typeof readPiece>>[number]

// In a selection drizzle writes columns without their table, so inner statements name theirs themselves.
const RATING = sql<number | null>`(select r.value from ratings r where r.message = call_records.message
  order by r.at_ms desc, r.id desc limit 1)`
const IS_REGENERATION = sql<number>`case when call_records.kind = 'turn' and exists (
  select 1 from call_records e where e.user_message = call_records.user_message and e.kind = 'turn'
    and e.message is distinct from call_records.message
    and (e.started_at_ms, e.id) < (call_records.started_at_ms, call_records.id)) then 1 else 0 end`

function readPiece({ db, t: { callRecords: r } }: Store, sinceMs: number, sinceId: string, untilMs: number) {
  const { id, kind, surface, person, turn, characterId, characterVersion, baseModel, status, errorCode } = r
  // As text, which is only parsed where it says something.
  const text = (column: typeof r.groups | typeof r.tokensByPart) =>
    sql<string | null>`cast(${column} as text)`
  return db
    .select({
      ...{
        id,
        startedAtMs: r.startedAtMs,
        kind,
        surface,
        keyId: r.keyId,
        person,
        groups: text(r.groups),
        turn,
      },
      ...{ characterId, characterVersion, baseModel, status, errorCode, promptTokens: r.promptTokens },
      ...{ completionTokens: r.completionTokens, reasoningTokens: r.reasoningTokens },
      ...{ cachedTokens: r.cachedTokens, queueMs: r.queueMs, loadMs: r.loadMs, prefillMs: r.prefillMs },
      ...{ decodeMs: r.decodeMs, firstTokenMs: r.firstTokenMs, totalMs: r.totalMs, cutTurns: r.cutTurns },
      ...{ loreFired: r.loreFired, passages: r.passages, toolCalls: r.toolCalls, costMicro: r.costMicro },
      ...{ tokensByPart: text(r.tokensByPart), rating: RATING, isRegeneration: IS_REGENERATION },
    })
    .from(r)
    .where(
      and(
        gte(r.startedAtMs, sinceMs),
        sql`(${r.startedAtMs}, ${r.id}) > (${sinceMs}, ${sinceId})`,
        lt(r.startedAtMs, untilMs),
      ),
    )
    .orderBy(asc(r.startedAtMs), asc(r.id))
    .limit(CALLS_AT_ONCE)
}

const NO_GROUPS: readonly string[] = []

/** Takes the row over: a copy of each would cost as much as to count it. */
function toCall(row: Row, groupsIn: Map<string, readonly string[]>): Call {
  return Object.assign(row, {
    kind: row.kind as CallRecord['kind'],
    status: row.status as CallRecord['status'],
    groups: row.groups === null ? NO_GROUPS : readGroups(row.groups, groupsIn),
    characterId: row.characterId ?? '',
    characterVersion: row.characterVersion ?? 0,
    baseModel: row.baseModel ?? '',
    loreTokens: loreTokensOf(row.tokensByPart),
    isRegeneration: row.isRegeneration === 1,
    rating: row.rating ?? 0,
  })
}

/** Most people are in the same few groups. */
function readGroups(text: string, known: Map<string, readonly string[]>): readonly string[] {
  const groups = known.get(text) ?? (JSON.parse(text) as string[])
  known.set(text, groups)
  return groups
}

function loreTokensOf(tokensByPart: string | null): number {
  if (tokensByPart?.includes('"lore"') !== true) return 0
  return (JSON.parse(tokensByPart) as Record<string, number>)['lore'] ?? 0
}
