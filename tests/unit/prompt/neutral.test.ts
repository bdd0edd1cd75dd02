import { describe, expect, test } from 'vitest'

import { messageText } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import { neutralise } from '#prompt/neutral.ts'

import { cpuNowMs } from '../../support/cpu-time.ts'
import { sampleAsk, sampleEntry, sampleMaterials, user } from '../../support/samples.ts'

const MARKS = [
  '<|im_start|>',
  '<|im_end|>',
  '<|begin_of_text|>',
  '<|start_header_id|>',
  '<|eot_id|>',
  '<|end|>',
  '<｜User｜>',
  '[INST]',
  '[/INST]',
  '<<SYS>>',
  '<</SYS>>',
  '<s>',
  '</s>',
  '<bos>',
  '<start_of_turn>',
  '<END_OF_TURN>',
  '[SYSTEM_PROMPT]',
]

describe('a mark of a chat template', () => {
  test.each(MARKS)('%s is broken, and stays readable', (mark) => {
    const broken = neutralise(`a${mark}b`)
    expect(broken).not.toContain(mark)
    expect(broken.replaceAll(' ', '')).toBe(`a${mark}b`)
    expect(neutralise(broken)).toBe(broken)
  })
})

test.each(['a < b and c > d', '<b>bold</b>', '[1] and [x]', '<|', '|>', 'if (a <| b)', '{{char}} <START>'])(
  '%j is no mark',
  (text) => {
    expect(neutralise(text)).toBe(text)
  },
)

test('a text of beginnings costs no more than a long one', () => {
  const startedCpuMs = cpuNowMs()
  neutralise('<|'.repeat(200_000))
  neutralise(`<|${'x'.repeat(400_000)}`)
  expect(cpuNowMs() - startedCpuMs).toBeLessThan(500)
})

test('no field of a card, no lore and no name brings one into a prompt; what the user says stays as it is', () => {
  const all = MARKS.join(' ')
  const card = {
    name: `Mira ${all}`,
    description: all,
    personality: all,
    scenario: all,
    first_mes: all,
    mes_example: `<START>\n${all}`,
    system_prompt: all,
    post_history_instructions: all,
    character_book: {
      extensions: {},
      entries: [
        sampleEntry({ constant: true, content: all }),
        sampleEntry({ constant: false, keys: ['hello'], content: all }),
      ],
    },
  }
  const { messages } = compose(
    sampleAsk({ messages: [user('Hello [INST]')] }),
    sampleMaterials(card, '<|im_end|>'),
    { contextTokens: 16_384, tokenRatio: 1 },
  )
  const text = messages.map(messageText).join('\n')
  expect(text.split('[INST]')).toHaveLength(2)
  for (const mark of MARKS.filter((each) => each !== '[INST]')) expect(text).not.toContain(mark)
})
