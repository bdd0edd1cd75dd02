/** The lorebook inside a card, made strict entry by entry. */
import type { Lorebook, LorebookEntry } from './card.ts'
import { LIMITS } from './limits.ts'
import { isObject, type Fields, type Mender } from './mend.ts'

/** Undefined for a card without a book. */
export function salvageLorebook(value: unknown, mend: Mender): Lorebook | undefined {
  if (value === undefined || value === null) return undefined
  if (!isObject(value)) {
    mend.note('wrong_type', 'character_book', 'The lorebook is not readable; it was left out.')
    return undefined
  }
  const listed = entryList(value['entries'])
  if (listed.length > LIMITS.loreEntries) {
    mend.note(
      'shortened',
      'character_book.entries',
      `The lorebook had more than ${String(LIMITS.loreEntries)} entries; the rest was left out.`,
    )
  }
  const entries = listed.slice(0, LIMITS.loreEntries).flatMap((entry, index) => readEntry(entry, index, mend))
  const path = 'character_book'
  return {
    ...value,
    ...defined('name', textOrNothing(value['name'], `${path}.name`, mend)),
    ...defined('description', textOrNothing(value['description'], `${path}.description`, mend)),
    ...defined('scan_depth', mend.number(value['scan_depth'], `${path}.scan_depth`)),
    ...defined('token_budget', mend.number(value['token_budget'], `${path}.token_budget`)),
    ...defined('recursive_scanning', mend.flag(value['recursive_scanning'], `${path}.recursive_scanning`)),
    extensions: mend.object(value['extensions'], `${path}.extensions`),
    entries,
  }
}

/** Some programs write the entries as an object with numbers for keys. */
function entryList(entries: unknown): unknown[] {
  if (Array.isArray(entries)) return entries
  return isObject(entries) ? Object.values(entries) : []
}

function readEntry(value: unknown, index: number, mend: Mender): LorebookEntry[] {
  const path = `character_book.entries.${String(index)}`
  if (!isObject(value)) {
    mend.note('wrong_type', path, `Lorebook entry ${String(index + 1)} is not readable; it was left out.`)
    return []
  }
  const id = value['id']
  return [
    {
      ...value,
      keys: readKeys(value['keys'] ?? value['key'], `${path}.keys`, mend),
      content: mend.text(value['content'], `${path}.content`),
      extensions: mend.object(value['extensions'], `${path}.extensions`),
      // A missing switch means on: nobody writes an entry to be silent.
      enabled: mend.flag(value['enabled'], `${path}.enabled`) ?? true,
      insertion_order: mend.number(value['insertion_order'], `${path}.insertion_order`) ?? 100,
      use_regex: mend.flag(value['use_regex'], `${path}.use_regex`) ?? false,
      ...optionals(value, path, mend),
      ...defined('id', typeof id === 'string' || typeof id === 'number' ? id : undefined),
    },
  ]
}

function optionals(value: Fields, path: string, mend: Mender): Fields {
  const position = value['position']
  const secondary = value['secondary_keys']
  return {
    ...defined('case_sensitive', mend.flag(value['case_sensitive'], `${path}.case_sensitive`)),
    ...defined('constant', mend.flag(value['constant'], `${path}.constant`)),
    ...defined('selective', mend.flag(value['selective'], `${path}.selective`)),
    ...defined(
      'secondary_keys',
      secondary === undefined || secondary === null
        ? undefined
        : readKeys(secondary, `${path}.secondary_keys`, mend),
    ),
    ...defined('priority', mend.number(value['priority'], `${path}.priority`)),
    ...defined('position', position === 'before_char' || position === 'after_char' ? position : undefined),
    ...defined('name', textOrNothing(value['name'], `${path}.name`, mend)),
    ...defined('comment', textOrNothing(value['comment'], `${path}.comment`, mend)),
  }
}

/** A list, or one text with commas. */
function readKeys(value: unknown, path: string, mend: Mender): string[] {
  const keys = typeof value === 'string' ? value.split(',').map((key) => key.trim()) : mend.texts(value, path)
  const usable = keys.filter((key) => key.trim() !== '')
  if (usable.every((key) => key.length <= LIMITS.keyCharacters)) return usable
  mend.note('shortened', path, `Keys longer than ${String(LIMITS.keyCharacters)} characters were left out.`)
  return usable.filter((key) => key.length <= LIMITS.keyCharacters)
}

function textOrNothing(value: unknown, path: string, mend: Mender): string | undefined {
  return value === undefined || value === null ? undefined : mend.text(value, path)
}

/** Sets the key, or takes a broken value out of the copy. */
function defined(key: string, value: unknown): Fields {
  return { [key]: value }
}
