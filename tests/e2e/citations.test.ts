/// <reference lib="dom" />
/** A character that was given a document, in a real Open WebUI: its answers carry citation cards, small talk carries none. */
import path from 'node:path'

import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'

import { launchBrowser, readEverything, signInByForm, startStack, type Stack } from '../support/stack.ts'

const IMAGES = path.resolve('docs/images')
/** Long enough that it is searched and does not simply stand in every prompt. */
const FILLER = Array.from(
  { length: 40 },
  (_, at) =>
    `## Day ${String(at + 1)}\n\n${'The wind came from the west and the boats stayed in. '.repeat(8)}`,
).join('\n\n')
const HANDBOOK = `# The harbour handbook

${FILLER}

## The lamp of Skerry Point

The lamp of Skerry Point was first lit on 3 March 1871 by Ada Holt. It burns whale oil and needs eleven litres a night.

## Ferries

The ferry to the islands leaves at seven and at noon.
`

let stack: Stack
let browser: Browser
let page: Page

beforeAll(async () => {
  stack = await startStack('llama.cpp')
  browser = await launchBrowser()
  await stack.useModels({
    OPENAI_API_BASE_URLS: `${stack.modelServer.url}/v1`,
    TROUPE_CONTEXT_TOKENS: '4096',
    // Of Open WebUI, a browser and a model on two cores.
    TROUPE_LOOKUP_MS: '3000',
  })
  await stack.troupe('import', 'characters/benno')
  const form = new FormData()
  form.append('files', new Blob([HANDBOOK]), 'harbour.md')
  await stack.send('POST', '/troupe/api/knowledge/characters/benno/documents', form)
  const isFound = async () => (await found('When was the lamp of Skerry Point lit?')).length > 0
  await vi.waitUntil(isFound, { timeout: 60_000, interval: 300 })
  await stack.troupe('sync')
  page = (await signInByForm(browser, stack.openWebUiUrl, stack.user)).page
})
afterAll(async () => {
  await browser.close()
  await stack.stop()
})

async function found(question: string): Promise<{ text: string }[]> {
  const body = JSON.stringify({ question, character: 'benno' })
  const answer = (await stack.send('POST', '/troupe/api/knowledge/test', body)) as {
    passages: { text: string }[]
  }
  return answer.passages
}

async function ask(words: string): Promise<void> {
  await page.goto(`${stack.openWebUiUrl}/?model=benno`)
  await page.locator('#chat-input').click()
  await page.keyboard.type(words)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Good Response' }).last().waitFor({ timeout: 120_000 })
}

const sources = () => page.getByRole('button', { name: /\bsources?\b/i })

test('a question about the handbook is answered with a card that opens the passage', async () => {
  await ask('When was the lamp of Skerry Point first lit?')
  await page.getByText('Looked at', { exact: false }).first().waitFor()
  await sources().last().click()
  const card = page.getByRole('button', { name: /handbook/i }).first()
  await card.waitFor()
  await page.screenshot({ path: path.join(IMAGES, 'citations.png') })
  await card.click()
  await page.getByText('first lit on 3 March 1871', { exact: false }).first().waitFor()
})

test('small talk carries no card', async () => {
  await ask('hello')
  expect(await sources().count()).toBe(0)
  expect(await page.getByText('Looked at', { exact: false }).count()).toBe(0)
})

test('no word of the questions is stored', async () => {
  expect(await readEverything(stack.dataDir)).not.toContain('lamp of Skerry Point first lit?')
})
