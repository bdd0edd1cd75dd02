import { expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import type { Card } from '#characters/card.ts'
import type { CharacterSummary, CharacterVersion } from '#library/library.ts'
import { readCast } from '#openwebui/cast.ts'

import { sampleCard } from '../../support/samples.ts'

interface Entry {
  id: string
  card: Partial<Card>
  tagline?: string
  pictureHash?: string
  isPublished?: boolean
}

/** A library of the given characters. A picture is its hash and width, as bytes; the picture `lost` is gone. */
function libraryOf(...entries: Entry[]) {
  const summary = ({
    id,
    card,
    tagline = `The tagline of ${id}.`,
    isPublished = true,
  }: Entry): CharacterSummary => ({
    id,
    name: sampleCard(card).name,
    tagline,
    tags: ['Companion'],
    greetings: [],
    publishedVersion: isPublished ? 1 : null,
    latestVersion: 1,
    pictureHash: null,
    notes: [],
    promptTokens: 0,
    groups: null,
    deletedAtMs: null,
    createdAtMs: 0,
    updatedAtMs: 0,
  })
  const version = ({ id, card, pictureHash }: Entry): CharacterVersion => ({
    characterId: id,
    number: 1,
    card: sampleCard(card),
    originalHash: '',
    originalName: '',
    pictureHash: pictureHash ?? null,
    notes: [],
    note: null,
    createdBy: null,
    createdAtMs: 0,
    publishedAtMs: null,
  })
  return {
    list: () => Promise.resolve(entries.map(summary)),
    published(id: string) {
      const entry = entries.find((one) => one.id === id && one.isPublished !== false)
      return Promise.resolve(entry && version(entry))
    },
    picture(hash: string, widthPixels: number): Promise<Uint8Array> {
      if (hash === 'lost') return Promise.reject(new AppError('not_found', 'There is no such picture'))
      if (hash === 'broken') return Promise.reject(new AppError('internal', 'disk'))
      return Promise.resolve(Buffer.from(`${hash} ${String(widthPixels)}`))
    },
  }
}

const readThem = (library: ReturnType<typeof libraryOf>) =>
  readCast({ library, takesPictures: ({ name }) => Promise.resolve(name === 'Seer') })

test('a character takes pictures where the model behind its card does', async () => {
  const cast = await readThem(libraryOf({ id: 'seer', card: { name: 'Seer' } }, { id: 'otto', card: {} }))
  expect(cast.map(({ takesPictures }) => takesPictures)).toEqual([true, false])
})

test('the cast is what is published, as people see it', async () => {
  const library = libraryOf(
    {
      id: 'mira',
      card: { name: 'Mira', first_mes: 'Hello {{user}}, I am {{char}}.', alternate_greetings: [' ', 'Hi.'] },
      pictureHash: 'h1',
    },
    { id: 'draft', card: { name: 'Draft' }, isPublished: false },
  )
  expect(await readThem(library)).toEqual([
    {
      id: 'mira',
      name: 'Mira',
      groups: null,
      tagline: 'The tagline of mira.',
      tags: ['Companion'],
      greetings: [
        { prompt: '(Begin the scene)', greeting: 'Hello you, I am Mira.' },
        { prompt: '(Begin the scene another way: 2)', greeting: 'Hi.' },
      ],
      portrait: Buffer.from('h1 256'),
      takesPictures: false,
    },
  ])
})

test('a tagline that an older release kept as it was written has names for its macros', async () => {
  const cast = await readThem(
    libraryOf({ id: 'mira', card: { name: 'Mira' }, tagline: '{{char}} greets <USER>.' }),
  )
  expect(cast.map(({ tagline }) => tagline)).toEqual(['Mira greets you.'])
})

test('a lost picture leaves its place empty and keeps nobody from being shown', async () => {
  const library = libraryOf({ id: 'mira', card: {}, pictureHash: 'lost' }, { id: 'otto', card: {} })
  const cast = await readThem(library)
  expect(cast.map(({ id, portrait }) => [id, portrait])).toEqual([
    ['mira', null],
    ['otto', null],
  ])
})

test('a disk that fails is not a lost picture', async () => {
  await expect(readThem(libraryOf({ id: 'mira', card: {}, pictureHash: 'broken' }))).rejects.toThrow('disk')
})
