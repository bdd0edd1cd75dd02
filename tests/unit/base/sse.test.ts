import { expect, test } from 'vitest'

import { splitEvents } from '#base/sse.ts'

import { allOf, inPieces, split } from '../../support/replay.ts'

const message = (data: string) => ({ event: 'message', data })

test.each([
  ['one event', 'data: hello\n\n', [message('hello')]],
  ['a colon without a space', 'data:hello\n\n', [message('hello')]],
  ['only the first space belongs to the format', 'data:  hello\n\n', [message(' hello')]],
  ['several lines of data', 'data: one\ndata: two\n\n', [message('one\ntwo')]],
  ['an empty line of data', 'data\ndata: two\n\n', [message('\ntwo')]],
  ['comments, also beside data', ': ping\n\n: ping\ndata: hello\n: ping\n\n', [message('hello')]],
  ['line ends of Windows', 'data: one\r\n\r\ndata: two\r\n\r\n', [message('one'), message('two')]],
  [
    'a name, which holds for one event',
    'event: error\ndata: one\n\ndata: two\n\n',
    [{ event: 'error', data: 'one' }, message('two')],
  ],
  ['fields that nobody needs', 'id: 1\nretry: 5\nwhatever: x\ndata: hello\n\n', [message('hello')]],
  ['an event without data', 'event: ping\n\ndata: hello\n\n', [message('hello')]],
  ['a missing blank line at the end', 'data: one\n\ndata: two\n', [message('one'), message('two')]],
  ['a missing line break at the end', 'data: one\n\ndata: two', [message('one'), message('two')]],
  ['nothing', '', []],
])('%s', async (_name, text, events) => {
  expect(await allOf(split(splitEvents(), inPieces(text)))).toEqual(events)
})

test('events do not depend on where the bytes are cut', async () => {
  const text = ': ping\r\nevent: note\r\ndata: Möwe 🌊\r\ndata: さようなら\r\n\r\ndata: [DONE]\n\n'
  const bytes = Buffer.from(text)
  const whole = await allOf(split(splitEvents(), inPieces(bytes)))
  expect(whole).toEqual([{ event: 'note', data: 'Möwe 🌊\nさようなら' }, message('[DONE]')])
  for (let cut = 1; cut < bytes.length; cut += 1) {
    expect(await allOf(split(splitEvents(), inPieces(bytes.subarray(0, cut), bytes.subarray(cut))))).toEqual(
      whole,
    )
  }
})

test('an event over the limit is refused, also when its lines are short', async () => {
  await expect(allOf(split(splitEvents(20), inPieces('data: 12345\n'.repeat(4))))).rejects.toMatchObject({
    code: 'upstream',
  })
  await expect(allOf(split(splitEvents(20), inPieces('data: ', '1'.repeat(30))))).rejects.toMatchObject({
    code: 'upstream',
  })
})
