import { expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { takesPictures } from '#chat/known-model.ts'
import type { Upstream } from '#providers/upstreams.ts'

/** A server that has every model; `sees` is what it says of them. */
const saying = (sees?: boolean) => ({
  find: (name = 'default') =>
    Promise.resolve({ model: { name, chats: true, ...(sees !== undefined && { sees }) } } as Upstream),
})
const away = { find: () => Promise.reject(new AppError('unavailable', 'No model server answers')) }

test.each([
  ['a server that says so', 'smollm2:135m', saying(true), true],
  ['a server that says no', 'gemma3:4b', saying(false), false],
  ['a known model without eyes, of a server that says nothing', 'smollm2:135m', saying(), false],
  ['a known model with eyes, of a server that says nothing', 'gemma3:4b', saying(), true],
  ['a model of which nobody knows', 'own-finetune', saying(), true],
  ['the default model, of which nobody knows', undefined, saying(), true],
  ['a known model without eyes, while no server answers', 'smollm2:135m', away, false],
  ['the default model, while no server answers', undefined, away, true],
])('whether a character takes pictures: %s', async (_what, name, upstreams, expected) => {
  expect(await takesPictures(name, upstreams)).toBe(expected)
})
