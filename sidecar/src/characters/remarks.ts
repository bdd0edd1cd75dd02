/** What an admin should know about a card that is in order: text that would surprise whoever publishes it. */
import type { Card, Lorebook } from './card.ts'
import { readDecorators } from './lore/decorators.ts'
import { reportMacros } from './macros.ts'
import { isObject } from './mend.ts'
import type { Notebook } from './notes.ts'
import { senselessSettings } from './settings.ts'
import { countInvisible, cut, isEncodedTwice } from './text.ts'

const MACROS_SHOWN = 3
const MACRO_CHARACTERS = 40

/** Notes only; the card stays as its author wrote it. */
export function remark(card: Card, notebook: Notebook): void {
  remarkTexts(card, notebook)
  remarkExtensions(card, notebook)
  if (card.character_book !== undefined) remarkLorebook(card.character_book, notebook)
}

/** Says which instructions of a lorebook's entries have no effect here. */
export function remarkLorebook({ entries }: Lorebook, { note }: Notebook): void {
  const ignored = new Set(entries.flatMap(({ content }) => readDecorators(content).ignored))
  if (ignored.size === 0) return
  const names = listed([...ignored].map((name) => `@@${name}`))
  note(
    'ignored_decorators',
    'character_book.entries',
    `The lorebook uses ${names}, without effect here; the entries count as if that were not there.`,
  )
}

function remarkExtensions(card: Card, { note }: Notebook): void {
  for (const [path, value] of scriptsOf(card.extensions))
    if (Array.isArray(value) && value.length > 0)
      note(
        'scripts_not_run',
        path,
        `"${path}" holds ${value.length} scripts for another program; they are kept, and never run here.`,
      )
  for (const { path } of senselessSettings(card)) {
    note('senseless_setting', path, `"${path}" has a value that makes no sense; it counts as absent.`)
  }
}

/** Where SillyTavern and RisuAI keep what they run. */
function scriptsOf(extensions: Card['extensions']): [path: string, value: unknown][] {
  const { regex_scripts: patterns, risuai } = extensions
  const risu = isObject(risuai) ? risuai : {}
  return [
    ['extensions.regex_scripts', patterns],
    ['extensions.risuai.customScripts', risu['customScripts']],
    ['extensions.risuai.triggerscript', risu['triggerscript']],
  ]
}

function remarkTexts(card: Card, { note }: Notebook): void {
  for (const [path, text] of textsOf(card)) {
    const invisible = countInvisible(text)
    if (invisible > 0)
      note(
        'invisible_characters',
        path,
        `"${path}" holds ${invisible} invisible characters; they may hide text.`,
      )
    if (isEncodedTwice(text))
      note('encoded_twice', path, `The accents in "${path}" look broken; export the card again as UTF-8.`)
    if (NOT_EXPANDED.has(path)) continue
    const { unknown, emptied } = reportMacros(text, { sentAnew: SENT_ANEW.has(path) })
    if (unknown.length > 0)
      note('unknown_macros', path, `"${path}" uses ${listed(unknown)}, which stays as written.`)
    if (emptied.length > 0)
      note('emptied_macros', path, `"${path}" uses ${listed(emptied)}, which comes out empty here.`)
  }
}

/** The others stand in the prefix, which has to stay the same. Greetings are told once, when there is no message yet. */
const SENT_ANEW = new Set(['post_history_instructions', 'extensions.depth_prompt.prompt'])

/** Never part of a prompt. */
const NOT_EXPANDED = new Set(['name', 'creator_notes', 'creator', 'character_version'])

function textsOf(card: Card): [path: string, text: string][] {
  const lore = card.character_book?.entries ?? []
  return [
    ['name', card.name],
    ['description', card.description],
    ['personality', card.personality],
    ['scenario', card.scenario],
    ['first_mes', card.first_mes],
    ['mes_example', card.mes_example],
    ['creator_notes', card.creator_notes],
    ['system_prompt', card.system_prompt],
    ['post_history_instructions', card.post_history_instructions],
    ['extensions.depth_prompt.prompt', noteOf(card.extensions)],
    ['creator', card.creator],
    ['character_version', card.character_version],
    ...card.alternate_greetings.map((text, index): [string, string] => [
      `alternate_greetings.${index}`,
      text,
    ]),
    ...card.group_only_greetings.map((text, index): [string, string] => [
      `group_only_greetings.${index}`,
      text,
    ]),
    ...lore.map(({ content }, index): [string, string] => [
      `character_book.entries.${index}.content`,
      content,
    ]),
  ]
}

function noteOf({ depth_prompt: note }: Card['extensions']): string {
  const prompt = isObject(note) ? note['prompt'] : undefined
  return typeof prompt === 'string' ? prompt : ''
}

function listed(macros: readonly string[]): string {
  const shown = macros.slice(0, MACROS_SHOWN).map((macro) => cut(macro, MACRO_CHARACTERS))
  return shown.join(', ') + (macros.length > MACROS_SHOWN ? ' and more' : '')
}
