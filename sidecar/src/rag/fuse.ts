/** Joins rankings by place alone (reciprocal rank fusion; Cormack, Clarke, Büttcher, SIGIR 2009): scores of different kinds have no common scale. */

export interface Ranking {
  /** Best first. */
  ids: readonly number[]
  weight: number
}

/** From the paper. */
const K = 60

export interface Fused {
  id: number
  score: number
}

/** Best first; equal scores by id, so that the same search answers the same. */
export function fuse(rankings: readonly Ranking[]): Fused[] {
  const scores = new Map<number, number>()
  for (const { ids, weight } of rankings)
    for (const [place, id] of ids.entries()) scores.set(id, (scores.get(id) ?? 0) + weight / (K + place + 1))
  return [...scores].map(([id, score]) => ({ id, score })).sort((a, b) => b.score - a.score || a.id - b.id)
}
