/** The record of a past request, with the texts that belong to the character's author: they are in the card, not in the record. */
import type { RatedRecord } from '#analytics/queries.ts'
import type { Lorebook } from '#characters/card.ts'
import { labelOf } from '#characters/lore/book.ts'
import { readDecorators } from '#characters/lore/decorators.ts'
import type { Library } from '#library/library.ts'
import type { Lorebooks } from '#library/lorebooks.ts'
import { NOTE_LABEL, POST_HISTORY_LABEL } from '#prompt/compose.ts'
import { depthNote } from '#prompt/note.ts'
import { prefixParts, unsteadyTexts } from '#prompt/prefix.ts'
import type { Speaker } from '#prompt/prompt.ts'

/** Stands for the person's name, which no record has. */
const SOMEBODY = 'User'

export interface InspectParts {
  library: Pick<Library, 'version'>
  lorebooks: Pick<Lorebooks, 'of'>
}

/**
 * Adds `text` to the parts that come from the card's version, as they were but for the name of the person; texts whose macros
 * ask for more than names, those that are sent anew each turn, and lore as their author wrote them. Never a text that may
 * not be the one: parts whose card is gone, lore that cannot be told apart or was changed since, and all that people and
 * clients said stay without.
 */
export async function withTexts(record: RatedRecord, on: InspectParts) {
  const { anatomy, characterId, characterVersion, startedAtMs } = record
  if (anatomy === null || characterId === null || characterVersion === null) return record
  const version = await on.library.version(characterId, characterVersion).catch(() => undefined)
  if (version === undefined) return record
  const known = cardTexts({ characterId, version: characterVersion, card: version.card })
  const lore = loreTexts([
    ...(version.card.character_book === undefined
      ? []
      : [{ book: version.card.character_book, isSame: true }]),
    ...on.lorebooks
      .of(characterId)
      .map(({ book, updatedAtMs }) => ({ book, isSame: updatedAtMs <= startedAtMs })),
  ])
  const parts = anatomy.parts.map((part) => {
    const text = part.kind === 'lore' ? lore.get(part.label) : known.get(keyOf(part))
    return text === undefined ? part : { ...part, text }
  })
  return { ...record, anatomy: { ...anatomy, parts } }
}

const keyOf = ({ kind, label }: { kind: string; label: string }) => `${kind} ${label}`

function cardTexts(speaker: Speaker): Map<string, string> {
  const materials = { speaker, userName: SOMEBODY }
  const known = new Map<string, string>()
  for (const part of [...prefixParts(materials, ''), ...unsteadyTexts(materials)])
    known.set(keyOf(part), part.text)
  known.set(keyOf({ kind: 'note', label: NOTE_LABEL }), depthNote(speaker.card).prompt)
  known.set(
    keyOf({ kind: 'post_history', label: POST_HISTORY_LABEL }),
    speaker.card.post_history_instructions,
  )
  return known
}

/** By label, of which a record has no more. `isSame`: the book is what it was then. */
function loreTexts(books: readonly { book: Lorebook; isSame: boolean }[]): Map<string, string | undefined> {
  const texts = new Map<string, string | undefined>()
  for (const { book, isSame } of books)
    for (const [index, entry] of book.entries.entries()) {
      if (isSame && !entry.enabled) continue
      const label = labelOf(entry, index)
      const text = isSame ? readDecorators(entry.content).text : undefined
      texts.set(label, texts.has(label) && texts.get(label) !== text ? undefined : text)
    }
  return texts
}
