/** The record of a past request, with the texts that belong to the character's author: they are in the card, not in the record. */
import type { RatedRecord } from '#analytics/queries.ts'
import type { Library } from '#library/library.ts'
import { NOTE_LABEL, POST_HISTORY_LABEL } from '#prompt/compose.ts'
import { depthNote } from '#prompt/note.ts'
import { prefixParts } from '#prompt/prefix.ts'

/** Stands for the person's name, which no record has. */
const SOMEBODY = 'User'

/**
 * Adds `text` to the parts that come from the card's version: as they were, but for the name of the person, the dice and
 * the date; those that are sent anew each turn as their author wrote them. Parts whose card is gone, and all that people and clients said, stay without.
 */
export async function withTexts(record: RatedRecord, library: Pick<Library, 'version'>) {
  const { anatomy, characterId, characterVersion } = record
  if (anatomy === null || characterId === null || characterVersion === null) return record
  const version = await library.version(characterId, characterVersion).catch(() => undefined)
  if (version === undefined) return record
  const speaker = { characterId, version: characterVersion, card: version.card }
  const known = new Map(
    prefixParts({ speaker, userName: SOMEBODY }, '').map(({ kind, label, text }) => [
      `${kind} ${label}`,
      text,
    ]),
  )
  known.set(`note ${NOTE_LABEL}`, depthNote(version.card).prompt)
  known.set(`post_history ${POST_HISTORY_LABEL}`, version.card.post_history_instructions)
  for (const entry of version.card.character_book?.entries ?? [])
    for (const label of [entry.name, entry.comment, entry.keys[0]])
      if (label && !known.has(`lore ${label}`)) known.set(`lore ${label}`, entry.content)
  const parts = anatomy.parts.map((part) => {
    const text = known.get(`${part.kind} ${part.label}`)
    return text === undefined ? part : { ...part, text }
  })
  return { ...record, anatomy: { ...anatomy, parts } }
}
