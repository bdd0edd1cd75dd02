/** Lorebooks beside the cards, and the tests of any book. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError, toAppError } from '#base/errors.ts'
import { writeLorebook } from '#characters/lorebooks.ts'
import { lintBook } from '#characters/lore/lint.ts'
import { testLore, type LoreTestParts } from '#chat/lore-test.ts'
import type { CardReader } from '#library/card-reader.ts'
import type { Library } from '#library/library.ts'
import { parseBook, type Lorebooks, type StoredLorebook } from '#library/lorebooks.ts'
import { estimateTokens } from '#prompt/tokens.ts'

import { check, readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { uploadedFiles } from '../multipart.ts'
import type { Operation } from '../openapi.ts'
import { askParts, readChatBody } from '../v1/read-ask.ts'

/** A book of 100,000 entries has about as much. */
const UPLOAD_BYTES = 64 * 1024 * 1024

const characterIds = z.array(z.string()).max(10_000).nullable()
const New = z.strictObject({
  name: z.string().trim().min(1).max(200),
  book: z.unknown(),
  characterIds: characterIds.default(null),
})
const Patch = z.strictObject({
  name: z.string().trim().min(1).max(200).optional(),
  book: z.unknown().optional(),
  characterIds: characterIds.optional(),
})
const Import = z.object({
  /** Ids of characters with commas between them, or "all"; nobody without it. */
  for: z.string().trim().min(1).optional(),
})
const Which = z.object({
  character: z.string().optional(),
  lorebook: z.string().optional(),
  book: z.unknown().optional(),
})
const Test = Which.extend({
  messages: z.array(z.unknown()),
  budgetTokens: z.number().int().positive().max(1_000_000).optional(),
  /** Names a chat of its own, whose dice fall once; other names, other dice. */
  seed: z.string().min(1).max(200).optional(),
  /** Where all dice fall: below an entry's probability it comes on. */
  dice: z.number().min(0).lt(100).optional(),
})
const Lint = Which.extend({ budgetTokens: z.number().int().positive().max(1_000_000).default(1_024) })

export const lorebookOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The lorebooks beside the cards', may: 'viewer' },
  { method: 'post', path: '/', summary: 'Adds a lorebook', may: 'editor', body: New, status: 201 },
  {
    method: 'post',
    path: '/import',
    summary: 'Imports lorebook files; one result for each',
    may: 'editor',
    query: Import,
    body: 'files',
  },
  {
    method: 'post',
    path: '/test',
    summary: 'Which entries some messages call up, and why the others stay away',
    may: 'viewer',
    body: Test,
  },
  {
    method: 'post',
    path: '/lint',
    summary: 'Entries that never come, come too often or cost too much',
    may: 'viewer',
    body: Lint,
  },
  { method: 'get', path: '/:id', summary: 'A lorebook with its entries', may: 'viewer' },
  { method: 'patch', path: '/:id', summary: 'Changes a lorebook, or who has it', may: 'editor', body: Patch },
  { method: 'delete', path: '/:id', summary: 'Deletes a lorebook', may: 'editor', status: 204 },
  { method: 'get', path: '/:id/export', summary: 'A lorebook as a V3 file', may: 'viewer' },
]

export interface LorebookParts extends Pick<LoreTestParts, 'now' | 'timeZone'> {
  library: Pick<Library, 'get' | 'version'>
  lorebooks: Lorebooks
  cards: Pick<CardReader, 'readLorebook'>
}

/** Lists do not carry the entries. */
const summary = ({ book, ...row }: StoredLorebook) => ({ ...row, entries: book.entries.length })

export function lorebookRoutes(on: LorebookParts) {
  const { lorebooks } = on
  return new Hono<AppEnv>()
    .get('/', (c) => c.json({ lorebooks: lorebooks.list().map(summary) }))
    .post('/', async (c) => {
      const { book, ...wish } = await readJson(New, c.env.incoming)
      await refuseUnknown(wish.characterIds, [], on)
      const by = { actor: c.var.principal.name }
      return c.json(await lorebooks.add({ ...wish, book: parseBook(book) }, by), 201)
    })
    .post('/import', async (c) => {
      const ids = idsIn(check(Import, c.req.query()).for)
      await refuseUnknown(ids, [], on)
      const results = []
      for await (const file of uploadedFiles(c.env.incoming, UPLOAD_BYTES))
        results.push(await importFile(file, ids, on, c.var.principal.name))
      return c.json({ results })
    })
    .post('/test', async (c) => {
      const { messages, ...which } = await readJson(Test, c.env.incoming)
      const { messages: read } = askParts(readChatBody({ model: 'none', messages }))
      return c.json(await testLore({ ...which, messages: read }, on))
    })
    .post('/lint', async (c) => {
      const { budgetTokens, ...which } = await readJson(Lint, c.env.incoming)
      const findings = lintBook(await bookOf(which, on), { budgetTokens, countTokens: estimateTokens })
      return c.json({ findings })
    })
    .get('/:id', (c) => c.json(lorebooks.get(c.req.param('id'))))
    .patch('/:id', async (c) => {
      const { name, book, characterIds: ids } = await readJson(Patch, c.env.incoming)
      const changes = {
        ...(name !== undefined && { name }),
        ...(book !== undefined && { book }),
        ...(ids !== undefined && { characterIds: ids }),
      }
      const before = lorebooks.get(c.req.param('id'))
      await refuseUnknown(ids ?? null, before.characterIds ?? [], on)
      return c.json(await lorebooks.edit(before.id, changes, { actor: c.var.principal.name }))
    })
    .delete('/:id', async (c) => {
      await lorebooks.delete(c.req.param('id'), { actor: c.var.principal.name })
      return c.body(null, 204)
    })
    .get('/:id/export', (c) => {
      const { id, book } = lorebooks.get(c.req.param('id'))
      c.header('content-disposition', `attachment; filename="${id}.json"`)
      c.header('content-type', 'application/json')
      return c.body(new Uint8Array(writeLorebook(book)))
    })
}

/** Those that it has already may have been deleted since. */
async function refuseUnknown(ids: string[] | null, before: readonly string[], { library }: LorebookParts) {
  for (const id of ids ?? []) if (!before.includes(id)) await library.get(id)
}

const ALREADY_HERE = {
  code: 'already_here',
  path: '',
  message: 'A lorebook with the same entries is here already.',
}

const givenTo = (ids: readonly string[] | null) => ({
  code: 'more_characters',
  path: 'characterIds',
  message: `A lorebook with the same entries is here already; ${ids === null ? 'all characters have' : `${ids.join(', ')} ${ids.length === 1 ? 'has' : 'have'}`} it now too.`,
})

/** As in SillyTavern, a book that was brought is nobody's until somebody says whose it is. */
function idsIn(wanted: string | undefined): string[] | null {
  if (wanted === 'all') return null
  return (wanted ?? '')
    .split(',')
    .map((id) => id.trim())
    .filter((id) => id !== '')
}

async function importFile(
  file: { name: string; bytes: Uint8Array },
  characterIds: string[] | null,
  { lorebooks, cards }: LorebookParts,
  actor: string,
) {
  try {
    const { name, lorebook, notes } = await cards.readLorebook(file.bytes, file.name)
    const twin = lorebooks.twin(lorebook)
    if (twin !== undefined) {
      const isMore = await lorebooks.give(twin.id, characterIds, { actor })
      const became = isMore
        ? { status: 'updated', notes: [givenTo(characterIds)] }
        : { status: 'skipped', notes: [ALREADY_HERE] }
      return { file: file.name, id: twin.id, ...became }
    }
    const { id } = await lorebooks.add({ name, book: lorebook, characterIds }, { actor })
    return { file: file.name, status: 'created', id, notes }
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    return { file: file.name, status: 'failed', notes: [{ code, path: '', message }] }
  }
}

async function bookOf({ character, lorebook, book }: z.infer<typeof Which>, on: LorebookParts) {
  if (lorebook !== undefined) return on.lorebooks.get(lorebook).book
  if (book !== undefined) return parseBook(book)
  if (character === undefined)
    throw new AppError('invalid', 'Name one of "character", "lorebook" and "book"', { param: 'character' })
  const { publishedVersion, latestVersion } = await on.library.get(character)
  const { card } = await on.library.version(character, publishedVersion ?? latestVersion)
  if (card.character_book !== undefined) return card.character_book
  throw new AppError('not_found', `"${character}" has no lorebook of its own`)
}
