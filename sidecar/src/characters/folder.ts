/** A character folder (card.json, avatar.png) as one card file. */
import { readCard } from './read.ts'
import { writeCard } from './write.ts'

export const FOLDER_CARD = 'card.json'
export const FOLDER_PICTURE = 'avatar.png'

/** The same folder always gives the same bytes, so importing it again changes nothing. Throws AppError for what is no card. */
export async function packFolder(
  name: string,
  card: Uint8Array,
  picture: Uint8Array | undefined,
  read = readCard,
): Promise<{ name: string; bytes: Uint8Array }> {
  if (picture === undefined) return { name: `${name}.json`, bytes: card }
  const whole = await read(card, FOLDER_CARD)
  const modifiedAtSeconds = whole.card.modification_date ?? 0
  return { name: `${name}.png`, bytes: writeCard(whole.card, 'png', { picture, modifiedAtSeconds }) }
}
