import { expect, test } from 'vitest'

import { BEAT, primed } from '#base/streams.ts'

test('a failure before the first item is thrown before anything is handed out', async () => {
  // eslint-disable-next-line require-yield -- fails before it could
  const failing = (async function* (): AsyncGenerator<number, void, undefined> {
    await Promise.resolve()
    throw new Error('refused')
  })()
  await expect(primed(failing, 50, 50)).rejects.toThrow('refused')
})

test('items come in order, with a beat for each silence', async () => {
  let release: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (release = resolve))
  const source = (async function* () {
    yield 1
    await gate
    yield 2
  })()
  const seen: unknown[] = []
  for await (const item of await primed(source, 20, 5)) {
    seen.push(item)
    if (seen.length === 3) release()
  }
  expect(seen.slice(0, 3)).toEqual([1, BEAT, BEAT])
  expect(seen.at(-1)).toBe(2)
})

test('leaving the loop ends the source', async () => {
  let ended = false
  const source = (async function* () {
    try {
      for (let at = 0; ; at++) yield await Promise.resolve(at)
    } finally {
      ended = true
    }
  })()
  for await (const item of await primed(source, 20, 20)) if (item === 2) break
  expect(ended).toBe(true)
})
