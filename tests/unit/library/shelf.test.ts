import { expect, test } from 'vitest'

import { openShelf, summaryOf } from '#library/shelf.ts'
import { openStore } from '#store/open.ts'

import { sampleCard } from '../../support/samples.ts'

test.each([
  ['A *calm* keeper. And more.', 'A calm keeper.'],
  ['![](https://x.example/beacon.png) <b>Calm</b> keeper.', 'Calm keeper.'],
  ['<script>alert("Hi. There.")</script><style>p { color: red }</style>', 'Dr. Mira keeps a lighthouse.'],
  ['For {{user}}: {{Char}} at sea.', 'For you: Dr. Mira at sea.'],
  ['See [her page](https://x.example/mira).', 'See her page.'],
  ['<img src="https://x.example/a.png"', 'img src="https://x.example/a.png"'],
])('the line for pickers of %j is plain words with names in them', (creator_notes, tagline) => {
  const card = sampleCard({ name: 'Dr. Mira', creator_notes, description: '{{char}} keeps a lighthouse.' })
  expect(summaryOf(card).tagline).toBe(tagline)
})

test.each([
  ['and is seen to be away', true],
  ['between two looks at it', false],
])(
  'a character that goes for good and comes back older says what it says then: %s',
  async (_, isSeenAway) => {
    const store = await openStore('file::memory:')
    const { characters, characterVersions } = store.t
    const put = async (descriptions: string[]) => {
      await store.db.delete(characterVersions)
      await store.db.delete(characters)
      const latestVersion = descriptions.length
      await store.db.insert(characters).values({
        ...{ id: 'mira', name: 'Mira', publishedVersion: 1, latestVersion, groups: null },
        ...{ deletedAtMs: null, createdAtMs: 1, updatedAtMs: 1 },
      })
      await store.db.insert(characterVersions).values(
        descriptions.map((description, at) => {
          const card = sampleCard({ description })
          return {
            ...{ characterId: 'mira', number: at + 1, card, originalHash: '', originalName: '', notes: [] },
            ...{ summary: summaryOf(card), contentHash: description, createdAtMs: 1 },
          }
        }),
      )
    }
    await put(['first', 'second', 'lost'])
    const shelf = await openShelf(store)
    expect((await shelf.version('mira', 3)).card.description).toBe('lost')
    if (isSeenAway) {
      await store.db.delete(characterVersions)
      await store.db.delete(characters)
      await shelf.refresh('mira')
    }
    await put(['first', 'second'])
    await shelf.refresh('mira')
    await put(['first', 'second', 'new'])
    await shelf.refresh('mira')
    expect((await shelf.version('mira', 3)).card.description).toBe('new')
    await store.close()
  },
)
