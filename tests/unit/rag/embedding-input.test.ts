import { expect, test } from 'vitest'

import { embeddingInput, textHashOf } from '#rag/embedding-input.ts'

test('a piece is known by its header and its text, and by nothing else', () => {
  const piece = { header: 'Handbook › Wages', text: 'Paid monthly.', number: 3 }
  expect(textHashOf(piece)).toBe(textHashOf({ header: piece.header, text: piece.text }))
  expect(textHashOf(piece)).toMatch(/^[0-9a-f]{64}$/)
  expect(textHashOf({ ...piece, header: '' })).not.toBe(textHashOf(piece))
  expect(textHashOf({ header: '', text: 'a\nb' })).toBe(textHashOf({ header: 'a', text: 'b' }))
})

test('a piece without a header is embedded as it is', () => {
  expect(embeddingInput({ header: '', text: 'Paid monthly.' })).toBe('Paid monthly.')
  expect(embeddingInput({ header: 'Wages', text: 'Paid monthly.' })).toBe('Wages\nPaid monthly.')
})
