/// <reference lib="dom" />
/** The whole path with nothing faked: Chromium → Open WebUI → sidecar → model server, with Ollama and with llama.cpp. */
import { readFile, mkdir } from 'node:fs/promises'
import path from 'node:path'

import { AxeBuilder } from '@axe-core/playwright'
import sharp from 'sharp'
import { expectAccessible, SCREENS } from '../support/pages.ts'
import { readRecords, type StoredRecord } from '../support/records.ts'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Card } from '../../sidecar/src/characters/card.ts'
import { writeCard } from '../../sidecar/src/characters/write.ts'
import { startModelServer } from '../../scripts/setup/model-server.mjs'
import {
  castFolders,
  launchBrowser,
  readEverything,
  signInByForm,
  startStack,
  type Stack,
} from '../support/stack.ts'
import { openTap, type Tap } from '../support/tap.ts'

const IMAGES = path.resolve('docs/images')

let stack: Stack
let browser: Browser
let page: Page
let tap: Tap
let cast: { id: string; name: string; tagline: string }[]

beforeAll(async () => {
  stack = await startStack('ollama', { OLLAMA_DEBUG: '2' })
  browser = await launchBrowser()
  tap = await openTap(stack.modelServer.url)
  await stack.useModels({ OLLAMA_BASE_URL: tap.url, TROUPE_CONTEXT_TOKENS: '4096' })
  await stack.troupe('import', ...(await castFolders()))
  await stack.troupe('sync')
  await stack.troupe('functions', 'install')
  await joinGroup(stack.user.id, 'Reading club')
  cast = (await stack.api<{ characters: typeof cast }>('/troupe/api/characters')).characters
  page = (await signInByForm(browser, stack.openWebUiUrl, stack.user)).page
  await mkdir(IMAGES, { recursive: true })
})
afterAll(async () => {
  await browser.close()
  await tap.close()
  await stack.stop()
})

async function joinGroup(userId: string, name: string): Promise<void> {
  const post = async (path: string, body: object) => {
    const answer = await fetch(`${stack.openWebUiUrl}/api/v1/groups/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${stack.admin.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return (await answer.json()) as { id: string }
  }
  const { id } = await post('create', { name, description: '' })
  await post(`id/${id}/users/add`, { user_ids: [userId] })
}

async function openChatWith(id: string): Promise<void> {
  await page.goto(`${stack.openWebUiUrl}/?model=${id}`)
  await page.locator('#chat-input').waitFor()
}

async function say(words: string): Promise<void> {
  await page.locator('#chat-input').click()
  await page.keyboard.type(words)
  await page.keyboard.press('Enter')
}

const answers = () => page.locator('#response-content-container')
const stopButton = () => page.getByRole('button', { name: /stop/i })
const records = () => readRecords(stack.dataDir)
const turnsAfter = async (count: number): Promise<StoredRecord[]> =>
  (await records()).filter((row) => row.kind === 'turn').slice(count)

async function finished(): Promise<void> {
  await page.getByRole('button', { name: 'Good Response' }).last().waitFor({ timeout: 120_000 })
}

/** A small model may be done after a word, about one time in twenty. */
const MOST_SHORT_ANSWERS = 8
/** From the click on stop to the end of the request. */
const STOPPED_WITHIN_MS = 1_000

/**
 * Asks for a long answer and stops it while it grows, which must leave a cancelled record; resolves with the time of the
 * click. An answer that came to its own end before the click could reach it shows nothing, so another one is asked for.
 */
async function stopInTheMiddle(): Promise<number> {
  for (let attempt = 0; attempt < MOST_SHORT_ANSWERS; attempt++) {
    const before = (await turnsAfter(0)).length
    const turn = async () => (await turnsAfter(before)).at(-1)
    const shown = await answers().count()
    await say('Count from one to five hundred, in words, one per line.')
    await expect.poll(() => answers().count(), { timeout: 120_000 }).toBe(shown + 1)
    const length = async () => (await answers().last().innerText()).length
    await expect
      .poll(async () => (await length()) > 5 || (await turn()) !== undefined, { timeout: 120_000 })
      .toBe(true)
    const clickedAtMs = performance.now()
    // Where the answer has ended meanwhile there is no such button any more.
    await stopButton()
      .click({ timeout: 5_000 })
      .catch(() => undefined)
    await expect.poll(turn, { timeout: 10_000 }).toBeDefined()
    const { status = '', endedAtMs = Infinity } = (await turn()) ?? {}
    const isOwnEnd = status === 'ok' && endedAtMs < performance.timeOrigin + clickedAtMs + STOPPED_WITHIN_MS
    if (!isOwnEnd) {
      expect(status).toBe('cancelled')
      return clickedAtMs
    }
    await finished()
  }
  throw new Error(`${String(MOST_SHORT_ANSWERS)} answers were at their end before they could be stopped`)
}

/** What the ordinary user's picker says of a character after the page is loaded anew, and whether its picture is plain red. */
async function seenInPicker(id: string): Promise<{ text: string; isRed: boolean }> {
  await page.goto(stack.openWebUiUrl)
  await page.locator('[id^="model-selector-"]').first().click()
  const option = page.locator(`[data-value="${id}"]`)
  await option.waitFor()
  const picture = option.locator('img').first()
  await expect
    .poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth))
    .toBeGreaterThan(90)
  const [r = 0, g = 0, b = 0] = await picture.evaluate((image: HTMLImageElement) => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 })
    const context = canvas.getContext('2d')
    context?.drawImage(image, 0, 0, 1, 1)
    return [...(context?.getImageData(0, 0, 1, 1).data ?? [])]
  })
  const model = await fetch(`${stack.openWebUiUrl}/api/models`, {
    headers: { authorization: `Bearer ${stack.user.token}` },
  })
  const { data } = (await model.json()) as {
    data: { id: string; info?: { meta?: { description?: string } } }[]
  }
  const description = data.find((one) => one.id === id)?.info?.meta?.description ?? ''
  const tip = option.locator(`span:text-is("${description}") + div`)
  await tip.hover()
  await page.locator('.tippy-content', { hasText: description }).waitFor()
  return { text: description, isRed: r > 240 && g < 15 && b < 15 }
}

describe('an ordinary user with Ollama', () => {
  test('sees the whole cast in the picker, with picture and description', async () => {
    expect(cast.length).toBeGreaterThanOrEqual(4)
    await page.getByText('now logged in').waitFor({ state: 'hidden' })
    await page.locator('[id^="model-selector-"]').first().click()
    for (const { id, name, tagline } of cast.toReversed()) {
      const option = page.locator(`[data-value="${id}"]`)
      await option.waitFor()
      expect(await option.innerText()).toContain(name)
      const picture = option.locator('img').first()
      await expect
        .poll(() => picture.evaluate((image: HTMLImageElement) => image.naturalWidth))
        .toBeGreaterThan(90)
      await option.locator(`span:text-is("${tagline}") + div`).hover()
      await page.locator('.tippy-content', { hasText: tagline }).waitFor()
    }
    expect(await page.locator('[data-value="troupe-task"]').count()).toBe(0)
    await page.getByPlaceholder('Search a model').hover()
    await expect.poll(() => page.locator('.tippy-content').count()).toBe(0)
    await page.screenshot({ path: path.join(IMAGES, 'picker.png') })
    const [first] = cast
    await page.getByRole('option', { name: new RegExp(first?.name ?? '') }).click()
    await page
      .getByText(first?.tagline.slice(0, 30) ?? '', { exact: false })
      .first()
      .waitFor()
  })

  test("begins a scene with the author's own words, for which no model is asked", async () => {
    await openChatWith('pia')
    const before = (await turnsAfter(0)).length
    await page.getByText('Begin the scene').first().click()
    await finished()
    expect(await answers().first().innerText()).toContain('You walked past twice')
    expect(await turnsAfter(before)).toMatchObject([{ status: 'ok', upstream: null }])
    await page.locator('#chat-input').click()
    await page.keyboard.type('Mint, please. I missed the last train.')
    await page.screenshot({ path: path.join(IMAGES, 'chat.png') })
  })

  test('asks, watches the answer stream, and the chat gets a title without the persona', async () => {
    const [first] = cast
    await openChatWith(first?.id ?? '')
    const before = (await records()).length
    await say('Tell me about marmalade and rain.')
    await answers().first().waitFor({ timeout: 120_000 })
    const lengths = new Set<number>()
    await expect
      .poll(
        async () => {
          lengths.add((await answers().first().innerText()).length)
          return lengths.size
        },
        { interval: 50, timeout: 120_000 },
      )
      .toBeGreaterThan(3)
    await finished()

    const isTitled = async () =>
      (await records()).slice(before).some((row) => row.task === 'title_generation' && row.status === 'ok')
    await expect.poll(isTitled, { timeout: 120_000 }).toBe(true)
    const log = await readFile(stack.modelServer.logFile, 'utf8')
    const prompts = log.split('\n').filter((line) => line.includes('prompt='))
    const titles = prompts.filter((line) => line.includes('Generate a concise title'))
    expect(titles.length).toBeGreaterThan(0)
    expect(
      prompts.some(
        (line) => line.includes('Tell me about marmalade') && line.includes(`## ${first?.name ?? '?'}`),
      ),
    ).toBe(true)
    for (const title of titles) expect(title).not.toContain(`## ${first?.name ?? '?'}`)
  })

  test('stops an answer: the request to the model server is closed at once and recorded as cancelled', async () => {
    const [, second] = cast
    await openChatWith(second?.id ?? '')
    const clickedAtMs = await stopInTheMiddle()
    expect((tap.lastClosedAtMs() ?? 0) - clickedAtMs).toBeGreaterThan(0)
    expect((tap.lastClosedAtMs() ?? Infinity) - clickedAtMs).toBeLessThan(STOPPED_WITHIN_MS)
  })

  test('leaves one row per model call: a pseudonym for the person, and not one word of the chats in any file', async () => {
    const rows = await records()
    expect(rows.length).toBeGreaterThan(2)
    expect(new Set(rows.map((row) => row.id)).size).toBe(rows.length)
    const people = new Set(rows.map((row) => row.person))
    expect(people.size).toBe(1)
    expect([...people][0]).toMatch(/^[\w-]{22}$/)
    expect(new Set(rows.map((row) => row.groups))).toEqual(new Set(['["Reading club"]']))
    const everything = await readEverything(stack.dataDir)
    const answer = await page.evaluate(
      () => document.querySelector('#response-content-container')?.textContent ?? '',
    )
    const spoken = [
      'marmalade',
      'five hundred',
      stack.user.id,
      stack.user.email,
      ...answer.split(/(?<=[.!?])\s/).filter((line) => line.length > 20),
    ]
    for (const words of spoken) expect(everything).not.toContain(words)
  })

  test('clicks a thumb, and it reaches the record of that answer', async () => {
    const [first] = cast
    await openChatWith(first?.id ?? '')
    const before = (await turnsAfter(0)).length
    await say('Good evening.')
    await finished()
    const [turn] = await turnsAfter(before)
    await page.getByRole('button', { name: 'Good Response' }).last().click()
    const rating = async () =>
      (await stack.api<{ rating: number | null }>(`/troupe/api/requests/${turn?.id ?? ''}`)).rating
    await expect.poll(rating, { timeout: 20_000 }).toBe(1)
  })

  test('may not open the pages himself', async () => {
    const pages = await page.context().newPage()
    await pages.goto(`${stack.sidecarUrl}/troupe/`)
    await pages.getByText(/admin/i).first().waitFor()
    expect(await pages.getByRole('listitem').count()).toBe(0)
    const begun = await pages.request.post(`${stack.sidecarUrl}/troupe/api/session`)
    expect(begun.status()).toBe(403)
    // The login of Open WebUI alone, without a session of ours, opens nothing.
    const answer = await pages.request.get(`${stack.sidecarUrl}/troupe/api/characters`)
    expect(answer.status()).toBe(401)
    await pages.close()
  })
})

describe('an admin of Open WebUI', () => {
  test('drops a card on the pages, sees it in the gallery, and the ordinary user has it in the picker within 10 s', async () => {
    const { context, page: pages } = await signInByForm(browser, stack.openWebUiUrl, stack.admin)
    const refused: string[] = []
    pages.on('console', (message) => message.type() === 'error' && refused.push(message.text()))
    await pages.goto(`${stack.sidecarUrl}/troupe/`)
    await pages
      .getByText(cast[0]?.name ?? '')
      .first()
      .waitFor()
    await dropFile(pages, path.resolve('tests/fixtures/cards/own-cc0/v2_before_idat.png'))
    const gallery = async () =>
      (await stack.api<{ characters: typeof cast }>('/troupe/api/characters')).characters
    await expect.poll(async () => (await gallery()).length, { timeout: 20_000 }).toBe(cast.length + 1)
    const droppedAtMs = performance.now()
    const added = (await gallery()).find(({ id }) => !cast.some((known) => known.id === id))
    await pages
      .getByText(added?.name ?? '?')
      .first()
      .waitFor()

    const listed = async () => {
      const answer = await fetch(`${stack.openWebUiUrl}/api/models`, {
        headers: { authorization: `Bearer ${stack.user.token}` },
      })
      return ((await answer.json()) as { data: { id: string }[] }).data.some(({ id }) => id === added?.id)
    }
    await expect.poll(listed, { timeout: 10_000, interval: 200 }).toBe(true)
    expect(performance.now() - droppedAtMs).toBeLessThan(10_000)
    await page.goto(stack.openWebUiUrl)
    await page.locator('[id^="model-selector-"]').first().click()
    await page.locator(`[data-value="${added?.id ?? ''}"]`).waitFor()
    await context.close()
    expect(refused).toEqual([])
  })

  test('publishes a second version with another picture and description, and rolls it back: the picker follows within 10 s', async () => {
    const { tagline = '' } = cast.find(({ id }) => id === 'pia') ?? {}
    const before = await seenInPicker('pia')
    expect(before.text).toContain(tagline)
    const { card } = await stack.api<{ card: Card }>('/troupe/api/characters/pia')
    const red = sharp({ create: { width: 512, height: 512, channels: 3, background: '#ff0000' } })
    const second = writeCard({ ...card, creator_notes: 'Now she bakes.' }, 'png', {
      picture: await red.png().toBuffer(),
      modifiedAtSeconds: 1,
    })
    const form = new FormData()
    form.append('files', new Blob([new Uint8Array(second)]), 'second.png')
    const publishedAtMs = performance.now()
    const answer = await stack.send('POST', '/troupe/api/characters/import?note=another+trade', form)
    expect(answer).toMatchObject({ results: [{ status: 'updated', id: 'pia' }] })
    await expect
      .poll(() => seenInPicker('pia'), { timeout: 10_000, interval: 100 })
      .toMatchObject({ text: expect.stringContaining('Now she bakes.') as string, isRed: true })
    expect(performance.now() - publishedAtMs).toBeLessThan(10_000)

    const rolledBackAtMs = performance.now()
    expect(await stack.send('POST', '/troupe/api/characters/pia/rollback', '{}')).toMatchObject({
      publishedVersion: 1,
      latestVersion: 2,
    })
    await expect.poll(() => seenInPicker('pia'), { timeout: 10_000, interval: 100 }).toEqual(before)
    expect(performance.now() - rolledBackAtMs).toBeLessThan(10_000)
  })

  test('compares the versions of a character on the page, publishes one, rolls back, and tries its lore', async () => {
    const { context, page: pages } = await signInByForm(browser, stack.openWebUiUrl, stack.admin)
    const published = async () =>
      (await stack.api<{ publishedVersion: number }>('/troupe/api/characters/pia')).publishedVersion
    await pages.goto(`${stack.sidecarUrl}/troupe/?character=pia`)
    await pages.getByRole('heading', { name: 'Versions' }).click()
    await pages.getByRole('button', { name: 'Publish version 2' }).click()
    await pages.getByRole('button', { name: 'Roll back to version 1' }).waitFor()
    expect(await published()).toBe(2)
    await pages.getByRole('button', { name: 'Roll back to version 1' }).click()
    await pages.getByRole('button', { name: 'What is different in version 2' }).click()
    const differences = pages.getByRole('list', { name: 'Differences' })
    await differences.getByText('Now she bakes.').waitFor()
    expect(await published()).toBe(1)
    for (const [colorScheme, width] of SCREENS) {
      await pages.emulateMedia({ colorScheme })
      await pages.setViewportSize({ width, height: 850 })
      await differences.scrollIntoViewIfNeeded()
      const { violations } = await new AxeBuilder({ page: pages }).include('dialog').analyze()
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([])
      expect(await pages.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
      if ((colorScheme === 'dark') === width < 720)
        await pages.screenshot({ path: path.join(IMAGES, `character-${colorScheme}-${String(width)}.png`) })
    }
    await pages.goto(`${stack.sidecarUrl}/troupe/?character=grimwick`)
    await pages.getByRole('heading', { name: 'Try the lore' }).click()
    await pages.getByLabel('Words of a person').fill('What about the wax?')
    await pages.getByRole('button', { name: 'Try', exact: true }).click()
    const entries = pages.getByRole('list', { name: 'Entries' })
    await entries.getByText('in the newest message').waitFor()
    await entries.getByText('no key was found').first().waitFor()
    await context.close()
  })

  test('deletes a character on the page, and takes it back', async () => {
    const { context, page: pages } = await signInByForm(browser, stack.openWebUiUrl, stack.admin)
    await pages.goto(`${stack.sidecarUrl}/troupe/`)
    await pages.getByText('Grimwick').first().click()
    await pages.getByRole('button', { name: 'Delete' }).first().click()
    await pages.getByRole('button', { name: 'Delete', exact: true }).last().click()
    const listed = async () =>
      (await stack.api<{ characters: typeof cast }>('/troupe/api/characters')).characters.some(
        ({ id }) => id === 'grimwick',
      )
    await pages.getByText('Grimwick is in the trash.').waitFor()
    expect(await listed()).toBe(false)
    await pages.getByRole('button', { name: 'Undo' }).click()
    await pages.getByText('Grimwick is back.').waitFor()
    expect(await listed()).toBe(true)
    await context.close()
  })

  test('uploads a lorebook on the page, says whose it is, sees what calls it up, and deletes it', async () => {
    const { context, page: pages } = await signInByForm(browser, stack.openWebUiUrl, stack.admin)
    const refused: string[] = []
    pages.on('console', (message) => message.type() === 'error' && refused.push(message.text()))
    await pages.goto(`${stack.sidecarUrl}/troupe/`)
    await pages.getByRole('link', { name: 'Lorebooks' }).click()
    const entry = (uid: number, key: string, over: object) => ({
      uid,
      key: [key],
      content: `The ${key}.`,
      ...over,
    })
    const entries = [
      entry(1, 'reef', { comment: 'Rocks' }),
      entry(2, 'storm', { probability: 30, useProbability: true }),
    ]
    await pages.getByLabel('Lorebook files').setInputFiles([
      {
        name: 'Harbour.json',
        mimeType: 'application/json',
        buffer: Buffer.from(JSON.stringify({ entries })),
      },
      { name: 'Broken.json', mimeType: 'application/json', buffer: Buffer.from('nothing') },
    ])
    await pages.getByRole('list', { name: 'Uploaded files' }).getByText('This is no lorebook').waitFor()
    const dialog = pages.getByRole('dialog')
    await pages.getByRole('list', { name: 'Lorebooks' }).getByText('Harbour').click()
    await dialog.getByLabel('Pia').check()
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByRole('button', { name: 'Save' }).waitFor({ state: 'hidden' })
    const book = () => stack.api<{ characterIds: string[] }>('/troupe/api/lorebooks/harbour')
    expect((await book()).characterIds).toEqual(['pia'])

    await dialog.getByRole('heading', { name: 'Entries' }).click()
    await dialog.getByRole('list', { name: 'Entries of the book' }).getByText('30 %').waitFor()
    await dialog.getByRole('heading', { name: 'Check for mistakes' }).click()
    await dialog.getByRole('heading', { name: 'Try the lore' }).click()
    await dialog.getByLabel('Words of a person').fill('The storm at the reef?')
    await dialog.getByLabel('Entries with a probability').selectOption('never come')
    await dialog.getByRole('button', { name: 'Try', exact: true }).click()
    await dialog.getByText('its dice said no').waitFor()
    await dialog.getByText('"reef" in the newest message').waitFor()
    await expectAccessible(pages)
    // The address shows the same again.
    await pages.reload()
    expect(await dialog.getByLabel('Pia').isChecked()).toBe(true)
    await dialog.getByRole('button', { name: 'Close' }).click()
    await pages.getByRole('list', { name: 'Lorebooks' }).getByText('Pia').waitFor()
    await expectAccessible(pages)
    await pages.getByRole('list', { name: 'Lorebooks' }).getByText('Harbour').click()
    await dialog.getByRole('button', { name: 'Delete' }).click()
    await pages.getByRole('alertdialog').getByRole('button', { name: 'Delete' }).click()
    await pages.getByText('Harbour is deleted.').waitFor()
    await pages.getByText('No lorebooks yet').waitFor()
    await context.close()
    expect(refused).toEqual([])
  })

  test.each(SCREENS)('finds the gallery accessible: %s, %i px wide', async (colorScheme, width) => {
    const { context } = await signInByForm(browser, stack.openWebUiUrl, stack.admin)
    const pages = await context.newPage()
    await pages.emulateMedia({ colorScheme })
    await pages.setViewportSize({ width, height: 850 })
    await pages.goto(`${stack.sidecarUrl}/troupe/`)
    await pages
      .getByText(cast[0]?.name ?? '')
      .first()
      .waitFor()
    await expect
      .poll(() =>
        pages
          .locator('img')
          .first()
          .evaluate((image: HTMLImageElement) => image.naturalWidth),
      )
      .toBeGreaterThan(0)
    const { violations } = await new AxeBuilder({ page: pages }).analyze()
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([])
    expect(await pages.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
    await pages.screenshot({ path: path.join(IMAGES, `gallery-${colorScheme}-${String(width)}.png`) })
    await context.close()
  })
})

describe('an ordinary user with llama.cpp through the OpenAI adapter', () => {
  let llama: Awaited<ReturnType<typeof startModelServer>>
  let wire: Tap

  beforeAll(async () => {
    llama = await startModelServer({ logFile: path.join(stack.dataDir, '..', 'logs', 'llama.log') })
    wire = await openTap(llama.url)
    await stack.useModels({ OPENAI_API_BASE_URLS: `${wire.url}/v1`, TROUPE_CONTEXT_TOKENS: '4096' })
  })
  afterAll(async () => {
    await wire.close()
    await llama.stop()
  })

  test('asks, watches the answer stream, gets a title without the persona, and stops another answer', async () => {
    const [first] = cast
    await openChatWith(first?.id ?? '')
    const before = (await records()).length
    await say('What do you see from the window?')
    await finished()
    expect((await answers().first().innerText()).length).toBeGreaterThan(10)
    const later = async () => (await records()).slice(before)
    await expect
      .poll(
        async () => (await later()).some((row) => row.task === 'title_generation' && row.status === 'ok'),
        { timeout: 120_000 },
      )
      .toBe(true)
    const [turn] = (await later()).filter((row) => row.kind === 'turn')
    expect(turn).toMatchObject({ status: 'ok', upstream: wire.url })
    const requests = wire
      .heard()
      .split(/(?=POST \/(?:v1\/chat\/completions|tokenize) )/)
      .filter((request) => request.startsWith('POST /v1/chat/completions'))
    const titles = requests.filter((request) => request.includes('Generate a concise title'))
    expect(titles.length).toBeGreaterThan(0)
    for (const title of titles) expect(title).not.toContain(`## ${first?.name ?? '?'}`)
    expect(requests.some((request) => request.includes(`## ${first?.name ?? '?'}`))).toBe(true)

    const clickedAtMs = await stopInTheMiddle()
    expect((wire.lastClosedAtMs() ?? Infinity) - clickedAtMs).toBeLessThan(STOPPED_WITHIN_MS)
  })
})

/** Drops a file on the page as a person does from a folder. */
async function dropFile(page: Page, file: string): Promise<void> {
  const bytes = (await readFile(file)).toString('base64')
  const transfer = await page.evaluateHandle(
    ({ bytes, name }) => {
      const transfer = new DataTransfer()
      const content = Uint8Array.from(atob(bytes), (character) => character.charCodeAt(0))
      transfer.items.add(new File([content], name, { type: 'image/png' }))
      return transfer
    },
    { bytes, name: path.basename(file) },
  )
  for (const event of ['dragenter', 'dragover', 'drop'])
    await page.dispatchEvent('body', event, { dataTransfer: transfer })
}
