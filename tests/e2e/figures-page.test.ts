/// <reference lib="dom" />
/** The page of the figures in a real browser, over the calls of a year. Leaves two pictures in docs/images. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import type { Locator, Page, Request } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import type { Figure } from '#analytics/figures/figure.ts'
import { openRecorder } from '#analytics/recorder.ts'
import { runCli } from '#cli/run.ts'
import { openStore } from '#store/open.ts'

import { TABS } from '../../sidecar/web/src/figures/choice.ts'
import { ADMIN_KEY } from '../support/app.ts'
import { expectAccessible, openPages, type Pages } from '../support/pages.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { recordSampleYear } from '../support/sample-year.ts'
import { silentLog } from '../support/silent-log.ts'
import { castFolders } from '../support/stack.ts'

const IMAGES = path.resolve('docs/images')
const ZONE = 'Europe/Berlin'
const CALLS = 6_000

let pages: Pages
let owner: string
let viewer: string
let admin: string

beforeAll(async () => {
  pages = await openPages({ ANALYTICS_RECORD_DAYS: '400', TROUPE_TIME_ZONE: ZONE })
  const { troupe, openWebUi } = pages
  admin = openWebUi.adminToken
  owner = await personWith('owner')
  viewer = await personWith('viewer')
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  const characters = (await castFolders()).map((folder) => path.basename(folder))
  expect(
    await runCli(['import', ...(await castFolders())], { env, out: process.stderr, err: process.stderr }),
  ).toBe(0)
  const url = `file:${path.join(troupe.dataDir, 'analytics.sqlite')}`
  const nowMs = Date.now()
  await recordSampleYear({ url, nowMs, characters, calls: CALLS })
  await recordOfOne(url, nowMs)
  // The first question starts the thread that rolls up.
  await vi.waitFor(
    async () =>
      expect((await figure('overview')).base).toMatchObject({
        n: expect.any(Number),
        dataAsOfMs: expect.toSatisfy((ms: number) => ms > 0),
      }),
    { timeout: 120_000, interval: 500 },
  )
}, 300_000)
afterAll(() => pages.close())

async function personWith(role: 'owner' | 'viewer'): Promise<string> {
  const { id, token } = pages.openWebUi.addPerson(role, 'user')
  const given = await pages.troupe.request('PUT', `/troupe/api/roles/${id}`, { body: { role } })
  expect(given.status).toBe(200)
  return token
}

/** Three calls of one person, of a model that nobody else uses. */
async function recordOfOne(url: string, nowMs: number): Promise<void> {
  const store = await openStore(url)
  const recorder = openRecorder({ store, log: silentLog, now: () => nowMs })
  for (const id of ['rare-1', 'rare-2', 'rare-3'])
    await recorder.add(
      sampleRecord({
        id,
        startedAtMs: nowMs - 60_000,
        person: 'person-1',
        baseModel: 'rare',
        characterId: 'pia',
      }),
    )
  await recorder.close()
  await store.close()
}

const today = () => new Intl.DateTimeFormat('sv', { timeZone: ZONE }).format(Date.now())
const daysAgo = (days: number) =>
  new Intl.DateTimeFormat('sv', { timeZone: ZONE }).format(Date.now() - days * 24 * 3_600_000)
const lastMonth = () => `from=${daysAgo(29)}&to=${today()}`

/** As an owner has it. */
async function figure(name: string, query = lastMonth()): Promise<Figure> {
  const answer = await pages.troupe.request('GET', `/troupe/api/analytics/${name}?${query}`)
  expect(answer.status).toBe(200)
  return (await answer.json()) as Figure
}

/** Resolves when nothing is asked for any more. */
async function settled(page: Page): Promise<void> {
  await page.getByRole('heading', { name: 'Figures', level: 1 }).waitFor()
  await expect.poll(() => page.locator('section').count()).toBeGreaterThan(0)
  await expect.poll(() => page.locator('[aria-busy=true]').count()).toBe(0)
}

async function openFigures(token: string, query = ''): Promise<Page> {
  const page = await pages.open(token, `?page=figures${query}`)
  await settled(page)
  return page
}

const tile = (page: Page, label: string): Locator =>
  page.getByRole('list', { name: 'In short' }).getByRole('listitem').filter({ hasText: label })
const panel = (page: Page, subject: string): Locator =>
  page.locator('section').filter({ hasText: subject }).first()
const queryOf = (page: Page) => Object.fromEntries(new URL(page.url()).searchParams)
const numbersIn = async (cells: Locator) =>
  (await cells.allInnerTexts()).map((text) => Number(text.replaceAll(/[^\d.]/g, '')))

describe('the numbers', () => {
  test('are those of the API, with what they are of', async () => {
    const page = await openFigures(owner)
    const { total } = await figure('overview')
    const number = (key: string) => Number(total?.[key])
    expect(number('messages')).toBeGreaterThan(100)
    await expect
      .poll(() => tile(page, 'Finished answers').innerText())
      .toContain(`${number('messages')}\nof ${number('calls')} calls`)
    expect(await tile(page, 'Failures').innerText()).toContain(
      `${Number((number('errorRate') * 100).toFixed(1))} %\n${number('failed')} of ${number('calls') - number('cancelled')} calls`,
    )
    const { up, down } = (await figure('ratings')).total ?? {}
    expect(await tile(page, 'Satisfaction').innerText()).toContain(`of ${Number(up) + Number(down)} thumbs`)
    const people = (await figure('people')).rows.at(-1)
    expect(await tile(page, 'People').innerText()).toContain(
      `${Number(people?.['monthly'])}\nin the last 30 days`,
    )
    await page.context().close()
  })

  test('stand in the table behind a chart, step by step, and are told by the arrow keys', async () => {
    const page = await openFigures(owner)
    const { rows } = await figure('overview')
    const answers = panel(page, 'Answers')
    const slider = answers.getByRole('slider')
    await slider.focus()
    await page.keyboard.press('Home')
    expect(await slider.getAttribute('aria-valuetext')).toContain(
      `Finished answers ${Number(rows[0]?.['messages'])}`,
    )
    await page.keyboard.press('ArrowRight')
    expect(await slider.getAttribute('aria-valuetext')).toContain(
      `Finished answers ${Number(rows[1]?.['messages'])}`,
    )
    await answers.getByRole('button', { name: 'Show as table' }).click()
    // The newest first.
    expect(await numbersIn(answers.locator('tbody td:nth-child(2)'))).toEqual(
      rows.map((row) => Number(row['messages'])).reverse(),
    )
    await page.context().close()
  })

  test('say what they are made of', async () => {
    const page = await openFigures(admin)
    const answers = panel(page, 'Answers')
    await answers.getByText('What this counts').click()
    const said = await answers.locator('details').innerText()
    for (const words of [
      ZONE,
      'Everything recorded until',
      'The last of the days is not over',
      'embeddings',
      'multiples of 5',
      'Answers that were finished',
    ])
      expect(said).toContain(words)
    await page.context().close()
  })

  test('can be saved as they are told by the API', async () => {
    const page = await openFigures(owner, '&tab=cost')
    const coming = page.waitForEvent('download')
    await panel(page, 'Cost').getByRole('button', { name: 'CSV' }).click()
    const download = await coming
    expect(download.suggestedFilename()).toBe(`troupe-costs-${daysAgo(29)}-${today()}.csv`)
    const saved = (await readFile(await download.path(), 'utf8')).split('\r\n')
    const answer = await pages.troupe.request(
      'GET',
      `/troupe/api/analytics/costs?${lastMonth()}&by=model&format=csv`,
    )
    const told = (await answer.text()).split('\r\n')
    expect(saved.length).toBeGreaterThan(3)
    // The last column is when it was counted.
    const whole = (lines: string[]) => lines.map((line) => line.slice(0, line.lastIndexOf(',')))
    expect(whole(saved)).toEqual(whole(told))
    await page.context().close()
  })
})

describe('what is chosen', () => {
  test('is in the address: a row narrows the page, Back takes it back, a reload keeps it', async () => {
    const page = await openFigures(admin)
    await page.getByRole('button', { name: 'Benno' }).click()
    await page.getByRole('button', { name: '90 days' }).click()
    await page.getByRole('link', { name: 'Speed' }).click()
    expect(queryOf(page)).toEqual({ page: 'figures', tab: 'speed', period: '90d', of: 'benno' })
    await page.reload()
    await settled(page)
    expect(await page.getByRole('combobox', { name: 'Character' }).inputValue()).toBe('benno')
    await page.getByRole('button', { name: 'qwen3:8b' }).click()
    await page.getByRole('button', { name: 'Show all again, not only Model: qwen3:8b' }).waitFor()
    for (let steps = 0; steps < 4; steps++) await page.goBack()
    await expect.poll(() => queryOf(page)).toEqual({ page: 'figures' })
    expect(await page.getByRole('combobox', { name: 'Character' }).inputValue()).toBe('')
    await page.context().close()
  })

  test('own days are taken when they are in order, and refused in words when not', async () => {
    const page = await openFigures(admin)
    await page.getByRole('button', { name: 'From – to' }).click()
    await page.getByLabel('From', { exact: true }).fill(daysAgo(3))
    await expect.poll(() => queryOf(page)).toEqual({ page: 'figures', from: daysAgo(3), to: today() })
    await page.getByLabel('to', { exact: true }).fill(daysAgo(9))
    expect(await page.getByRole('alert').innerText()).toBe('The first day must not be after the last one.')
    expect(queryOf(page)).toMatchObject({ to: today() })
    await page.context().close()
  })

  test('rows are about what is chosen, and sorted by any column', async () => {
    const page = await openFigures(owner)
    await page.getByRole('button', { name: 'Model', exact: true }).click()
    await settled(page)
    expect(queryOf(page)).toEqual({ page: 'figures', by: 'model' })
    const table = page.getByRole('region', { name: /has the most/ })
    const counts = () => numbersIn(table.locator('tbody td:nth-child(2)'))
    const falling = await counts()
    expect(falling.length).toBeGreaterThan(2)
    expect(falling).toEqual([...falling].sort((a, b) => b - a))
    await table.getByRole('button', { name: 'Calls' }).click()
    expect(await counts()).toEqual([...falling].reverse())
    expect(await table.getByRole('columnheader', { name: 'Calls' }).getAttribute('aria-sort')).toBe(
      'ascending',
    )
    await page.context().close()
  })

  test('a filter that a figure does not know is left out, and said to be', async () => {
    const page = await openFigures(admin, '&tab=people&model=qwen3:8b')
    expect(await panel(page, 'New and returning').innerText()).toContain(
      'This is not counted by model, so it is of all of them.',
    )
    await page.context().close()
  })

  test('what was read just now is not asked for again, and the gallery loads nothing of all this', async () => {
    const page = await pages.open(admin)
    const asked: string[] = []
    page.on('request', (request: Request) => asked.push(new URL(request.url()).pathname))
    await page.reload()
    await page.getByRole('heading', { name: 'Characters', level: 1 }).waitFor()
    await page.waitForLoadState('networkidle')
    expect(asked.filter((address) => /FiguresPage|analytics/.test(address))).toEqual([])
    await page.getByRole('link', { name: 'Figures' }).click()
    await settled(page)
    await page.getByRole('link', { name: 'Cost' }).click()
    await settled(page)
    const before = asked.length
    await page.getByRole('link', { name: 'Use', exact: true }).click()
    await settled(page)
    await page.getByRole('link', { name: 'Cost' }).click()
    await settled(page)
    expect(asked.slice(before).filter((address) => address.includes('/analytics/'))).toEqual([])
    await page.context().close()
  })
})

describe('whoever may see no people', () => {
  test('has no tab about them, and nothing of them is asked for', async () => {
    const page = await pages.open(viewer)
    const asked: string[] = []
    page.on('request', (request: Request) => asked.push(new URL(request.url()).pathname))
    await page.goto(`${pages.troupe.url}/troupe/?page=figures&tab=people`)
    await settled(page)
    expect(await page.getByRole('link', { name: 'People' }).count()).toBe(0)
    expect(await tile(page, 'People').count()).toBe(0)
    expect(await page.getByRole('link', { name: 'Use', exact: true }).getAttribute('aria-current')).toBe(
      'page',
    )
    expect(asked.filter((address) => /analytics\/(?:people|retention)$/.test(address))).toEqual([])
    expect(asked.filter((address) => address.includes('/analytics/')).length).toBeGreaterThan(2)
    await page.context().close()
  })

  test('is told in words when something is about too few of them', async () => {
    const page = await openFigures(viewer, '&model=rare')
    expect(await page.locator('main').innerText()).toContain(
      'Fewer than five people asked something in this period',
    )
    const asOwner = await openFigures(owner, '&model=rare')
    expect(await tile(asOwner, 'Finished answers').innerText()).toContain('3\nof 3 calls')
    await asOwner.context().close()
    await page.context().close()
  })
})

describe('when there is nothing to show', () => {
  test('an empty period says so, and what to do', async () => {
    const page = await pages.open(admin, '?page=figures&from=2020-01-01&to=2020-01-31')
    await page.getByRole('heading', { name: 'Nothing was asked in this period' }).waitFor()
    await page.getByRole('button', { name: 'Look at 12 months' }).click()
    await settled(page)
    expect(queryOf(page)).toEqual({ page: 'figures', period: '12m' })
    await tile(page, 'Finished answers').waitFor()
    await page.context().close()
  })

  test('one figure that fails leaves the others, says why, and can be asked for again', async () => {
    const page = await pages.open(admin)
    const usage = /\/analytics\/usage/
    const body = { error: { message: 'The database of the records does not answer' } }
    await page.route(usage, (route) => route.fulfill({ status: 503, json: body }))
    await page.goto(`${pages.troupe.url}/troupe/?page=figures`)
    await settled(page)
    const broken = panel(page, 'Who and what was asked')
    expect(await broken.getByRole('alert').innerText()).toContain(body.error.message)
    expect(await panel(page, 'Answers').getByRole('slider').count()).toBe(1)
    await page.unroute(usage)
    await broken.getByRole('button', { name: 'Try again' }).click()
    await broken.getByRole('table').waitFor()
    await page.context().close()
  })

  test('a sidecar that does not answer is asked again without a click', async () => {
    const page = await pages.open(admin)
    const anything = /\/analytics\//
    await page.route(anything, (route) => route.abort())
    await page.getByRole('link', { name: 'Figures' }).click()
    await page.getByText('This page asks again by itself').waitFor()
    await page.unroute(anything)
    await tile(page, 'Finished answers').waitFor()
    expect(await page.getByText('This page asks again by itself').count()).toBe(0)
    await page.context().close()
  })
})

describe('to the eye', () => {
  test('charts follow the theme', async () => {
    const page = await openFigures(admin)
    const drawn = () =>
      page
        .locator('canvas')
        .first()
        .evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL())
    const light = await drawn()
    await page.getByRole('button', { name: 'Use the dark theme' }).click()
    await expect.poll(drawn).not.toBe(light)
    await page.context().close()
  })

  test.each(TABS)('%s is accessible, in both themes, on a desk and on a phone', async (tab) => {
    const page = await openFigures(owner, `&tab=${tab}&period=12m`)
    await expectAccessible(page, async (theme, width) => {
      await settled(page)
      const name = `figures-${theme}-${width}.png`
      if (tab !== 'use' || (name !== 'figures-light-1280.png' && name !== 'figures-dark-390.png')) return
      // On a phone the numbers are as high as the screen; the chart is below them.
      if (width < 500) await page.evaluate(() => document.querySelector('main nav')?.scrollIntoView())
      await page.screenshot({ path: path.join(IMAGES, name) })
    })
    await page.context().close()
  })

  test('a table, an open explanation and an empty page are accessible too', async () => {
    const page = await openFigures(owner, '&tab=people')
    for (const button of await page.getByRole('button', { name: 'Show as table' }).all()) await button.click()
    for (const summary of await page.getByText('What this counts').all()) await summary.click()
    await page.getByRole('button', { name: 'From – to' }).click()
    await expectAccessible(page)
    await page.goto(`${pages.troupe.url}/troupe/?page=figures&from=2020-01-01&to=2020-01-31`)
    await page.getByRole('heading', { name: 'Nothing was asked in this period' }).waitFor()
    await expectAccessible(page)
    await page.context().close()
  })

  test('no browser complained, but for what was made to fail', () => {
    expect(pages.complaints.filter((complaint) => !complaint.startsWith('Failed to load resource'))).toEqual(
      [],
    )
  })
})
