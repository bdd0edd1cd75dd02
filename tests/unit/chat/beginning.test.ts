import { expect, test, vi } from 'vitest'

import { AppError } from '#base/errors.ts'
import { Beginning } from '#chat/beginning.ts'
import type { Delta, Listener, Notice } from '#providers/provider.ts'

const { signal } = new AbortController()

const progress = (text: string): Notice => ({ type: 'status', text, isDone: false })
const news = (text: string): Notice => ({ type: 'status', text, isDone: true })

function sampleAnswer() {
  const over = { done: true, value: undefined } as const
  const leave = vi.fn(() => Promise.resolve(over))
  const deltas: AsyncIterableIterator<Delta, void> = {
    next: () => Promise.resolve(over),
    return: leave,
    [Symbol.asyncIterator]: () => deltas,
  }
  return { deltas, leave }
}

/** One that begins when the test says so. */
function sampleBeginning() {
  const { deltas, leave } = sampleAnswer()
  let begin: (answer: typeof deltas) => void = () => undefined
  let fail: (error: AppError) => void = () => undefined
  let listener: Listener | undefined
  const beginning = new Beginning({ signal, admitted: undefined }, (given) => {
    listener = given
    return new Promise((resolve, reject) => ([begin, fail] = [resolve, reject]))
  })
  return {
    beginning,
    leave,
    tell: (notice: Notice) => listener?.tell(notice),
    isHeard: () => listener?.isThere,
    begin: () => begin(deltas),
    fail: (error: AppError) => fail(error),
    deltas,
  }
}

async function textsOf(beginning: Beginning): Promise<string[]> {
  const texts: string[] = []
  for (let notice; (notice = await beginning.notice()) !== undefined;) texts.push(notice.text)
  return texts
}

test('all that is told is heard before the answer, whether somebody listened already or not', async () => {
  const { beginning, tell, begin, deltas } = sampleBeginning()
  tell(news('another server'))
  const heard = textsOf(beginning)
  tell(progress('2 before you'))
  await new Promise(setImmediate)
  tell(progress('1 before you'))
  tell(news('your turn'))
  begin()
  expect(await heard).toEqual(['another server', '2 before you', '1 before you', 'your turn'])
  expect(await beginning.answer()).toBe(deltas)
})

test('of a place that changes, who comes late hears the last one', async () => {
  const { beginning, tell, begin } = sampleBeginning()
  for (const before of [3, 2, 1]) tell(progress(`${String(before)} before you`))
  begin()
  expect(await textsOf(beginning)).toEqual(['1 before you'])
})

test('what kept it from beginning is thrown by the answer alone', async () => {
  const { beginning, fail } = sampleBeginning()
  fail(new AppError('unavailable', 'No server'))
  expect(await textsOf(beginning)).toEqual([])
  await expect(beginning.answer()).rejects.toMatchObject({ code: 'unavailable' })
})

test('an answer that comes when nobody waits any more is closed, and who begins it is told', async () => {
  const { beginning, begin, leave, isHeard } = sampleBeginning()
  expect(isHeard()).toBe(true)
  beginning.leave()
  expect(isHeard()).toBe(false)
  begin()
  await new Promise(setImmediate)
  expect(leave).toHaveBeenCalledOnce()
})

test('an answer that was taken is closed by who took it', async () => {
  const { beginning, begin, leave } = sampleBeginning()
  begin()
  await beginning.answer()
  beginning.leave()
  await new Promise(setImmediate)
  expect(leave).not.toHaveBeenCalled()
})
