/** Documents that speak to the model, from their bytes to the prompt. Generated texts: `passages.test.ts`. */
import { describe, expect, test } from 'vitest'

import { messageText } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import type { Knowledge } from '#prompt/passages.ts'
import { CHUNK_OPTIONS } from '#rag/chunk.ts'
import { prepareDocument } from '#rag/prepare.ts'

import { INJECTED } from '../../support/injected-documents.ts'
import { longChat, sampleAsk, sampleMaterials } from '../../support/samples.ts'

const MARK =
  /<[|｜][^<>|｜\n]{1,40}[|｜]>|\[\/?(?:INST|TOOL_RESULTS)\]|<<\/?SYS>>|<\/?(?:s|start_of_turn|end_of_turn)>/i
const INVISIBLE = /[\u200B\u2060\u202A-\u202E\u{E0000}-\u{E0FFF}\p{Co}]/u

const read = (document: { name: string; text: string }) =>
  prepareDocument(
    { name: document.name, bytes: Buffer.from(document.text), progress: () => undefined },
    CHUNK_OPTIONS,
  )

function composed(texts: readonly string[], isWhole: boolean) {
  const passages: Knowledge['passages'] = texts.map((text, at) => ({
    ...{ reference: at + 1, documentId: 'ferry', label: `Ferry ${String(at + 1)}`, text },
    ...{ page: null, similarity: null, chunkIds: [at] },
  }))
  const materials = { ...sampleMaterials(), knowledge: { passages, isWhole } }
  return compose(sampleAsk({ messages: longChat(1) }), materials, { contextTokens: 16_384, tokenRatio: 1 })
}

const fences = (text: string) => text.match(/<\s*\/?\s*passage/gi)?.length ?? 0

describe.each([false, true])('in the prompt (all of the base: %s)', (isWhole) => {
  test.each(INJECTED.map((document) => [document.way, document] as const))(
    '%s stays a passage',
    async (_way, document) => {
      const { chunks } = await read(document)
      const texts = chunks.map(({ text }) => text)
      expect(texts.length).toBeGreaterThan(0)
      const [poisoned, plain] = [
        composed(texts, isWhole),
        composed(
          texts.map(() => 'The ferry leaves.'),
          isWhole,
        ),
      ]
      expect(poisoned.messages.map(({ role }) => role)).toEqual(plain.messages.map(({ role }) => role))
      for (const [at, message] of poisoned.messages.entries()) {
        const [text, expected] = [messageText(message), plain.messages.map(messageText)[at] ?? '']
        expect(fences(text)).toBe(fences(expected))
        expect(text).not.toMatch(MARK)
        expect(text).not.toMatch(INVISIBLE)
        // What is no passage is word for word as it was.
        const outside = (of: string) =>
          of.replaceAll(/(<passage id="\d+" from="[^"<>]*">)\n[\s\S]*?\n(<\/passage>)/g, '$1$2')
        expect(outside(text)).toBe(outside(expected))
      }
    },
  )
})

test.each(INJECTED.filter(({ isTold }) => isTold).map((document) => [document.way, document] as const))(
  '%s is told to who adds it',
  async (_way, document) => {
    const { notes } = await read(document)
    expect(notes.map(({ code }) => code)).toContain('suspicious_text')
  },
)

test.each([
  'a comment of Markdown',
  'a comment of HTML',
  'a script',
  'tag characters',
  'what is not displayed',
])('%s does not get into a passage', async (way) => {
  const document = INJECTED.find((each) => each.way === way)
  const { chunks } = await read(document ?? { name: '', text: '' })
  expect(chunks.map(({ text }) => text).join('\n')).not.toMatch(/password/i)
})
