/**
 * Joins rankings by what each score is worth among those of its own ranking: min-max normalised and added up (Bruch, Gai,
 * Ingber, arXiv 2210.11934). Places alone, as in reciprocal rank fusion, throw away by how much the first is better than the
 * second, and let a middling model push out what has every word of the question: 0.903 of what answers within 6,000
 * characters of the chunking set instead of 0.922 by words alone.
 */

export interface Ranking {
  /** Best first; larger scores are better. */
  hits: readonly { id: number; score: number }[]
  /** The score that counts nothing: what the hits are compared to that were not found. */
  least: number
  weight: number
}

export interface Fused {
  id: number
  /** 1 for what every ranking has first, 0 for what none has. */
  score: number
}

/** Best first; equal scores by id, so that the same search answers the same. */
export function fuse(rankings: readonly Ranking[]): Fused[] {
  const given = rankings.filter(({ hits, weight }) => hits.length > 0 && weight > 0)
  const all = given.reduce((sum, { weight }) => sum + weight, 0)
  const scores = new Map<number, number>()
  for (const { hits, least, weight } of given) {
    const range = (hits[0]?.score ?? least) - least
    for (const { id, score } of hits) {
      const worth = range > 0 ? Math.max(0, score - least) / range : 1
      scores.set(id, (scores.get(id) ?? 0) + (weight * worth) / all)
    }
  }
  return [...scores].map(([id, score]) => ({ id, score })).sort((a, b) => b.score - a.score || a.id - b.id)
}
