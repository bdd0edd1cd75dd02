import { expect, test } from 'vitest'

import { summaryOf } from '#library/shelf.ts'

import { sampleCard } from '../../support/samples.ts'

test.each([
  ['A *calm* keeper. And more.', 'A calm keeper.'],
  ['![](https://x.example/beacon.png) <b>Calm</b> keeper.', 'Calm keeper.'],
  ['<script>alert("Hi. There.")</script><style>p { color: red }</style>', '{{char}} keeps a lighthouse.'],
  ['See [her page](https://x.example/mira).', 'See her page.'],
  ['<img src="https://x.example/a.png"', 'img src="https://x.example/a.png"'],
])('the line for pickers of %j is plain words', (creator_notes, tagline) => {
  const card = sampleCard({ creator_notes, description: '{{char}} keeps a lighthouse.' })
  expect(summaryOf(card).tagline).toBe(tagline)
})
