/** Slugs: the ids of characters. Short, safe in paths and addresses, and harmless as model ids in Open WebUI. */
import { sha256Hex } from '#base/ids.ts'

const LONGEST = 48
const SHAPE = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/

/**
 * Open WebUI treats ids that begin like these as reasoning models and rewrites the request; ids of ours with our own
 * prefix mean something else; the last ones are device names on Windows, where people unpack our exports.
 */
const REFUSED = /^(o[1-9]|gpt-[5-9]|troupe-)|^(con|prn|aux|nul|com\d|lpt\d)$/

export const isSlug = (text: string): boolean =>
  SHAPE.test(text) && text.length <= LONGEST && !REFUSED.test(text)

/** A slug from a name; a name without a Latin letter or digit gets one from its hash. Always passes `isSlug`. */
export function slugOf(name: string): string {
  const folded = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, LONGEST)
    .replace(/^-+|-+$/g, '')
  if (folded === '') return `character-${sha256Hex(name).slice(0, 6)}`
  return isSlug(folded) ? folded : `c-${folded}`.slice(0, LONGEST).replace(/-+$/, '')
}

/** The slug with a number behind it, still within its length. */
export function numbered(slug: string, number: number): string {
  const suffix = `-${String(number)}`
  return slug.slice(0, LONGEST - suffix.length).replace(/-+$/, '') + suffix
}
