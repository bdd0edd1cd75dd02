/// <reference lib="dom" />
/** The page of API keys in a real browser: made, used, changed, replaced and revoked, by those who may. */
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'

import type { Locator, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { readUpload } from '../../sidecar/src/cli/folder.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { expectAccessible, openPages, type Pages } from '../support/pages.ts'
import { castFolders } from '../support/stack.ts'

const IMAGES = path.resolve('docs/images')
const SECRET = /troupe_\w{12}_\w{43}_\w{6}/

const run = promisify(execFile)

let ollama: FakeOllama
let pages: Pages
let owner: string

beforeAll(async () => {
  ollama = await openFakeOllama()
  pages = await openPages({ OLLAMA_BASE_URL: ollama.origin, TROUPE_PRICES: '*=900/2700' })
  for (const folder of await castFolders()) {
    const { name, bytes } = await readUpload(folder)
    const body = new FormData()
    body.append('files', new Blob([Uint8Array.from(bytes)]), name)
    await pages.troupe.request('POST', '/troupe/api/characters/import', { body })
  }
  const { id, token } = pages.openWebUi.addPerson('Olga', 'admin')
  owner = token
  await pages.troupe.request('PUT', `/troupe/api/roles/${id}`, { body: { role: 'owner' } })
  await mkdir(IMAGES, { recursive: true })
})
afterAll(async () => {
  await pages.close()
  await ollama.close()
})
afterEach(() => {
  expect(pages.complaints.splice(0)).toEqual([])
})

const chat = (secret: string, model = 'pia') =>
  pages.troupe.request('POST', '/v1/chat/completions', {
    key: secret,
    body: { model, messages: [{ role: 'user', content: 'Hello' }] },
  })

async function makeKey(over: object): Promise<{ id: string; secret: string }> {
  const answer = await pages.troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'club', scopes: ['chat', 'models'], ...over },
  })
  expect(answer.status).toBe(201)
  return (await answer.json()) as { id: string; secret: string }
}

async function revokeAll(): Promise<void> {
  const { keys } = (await (await pages.troupe.request('GET', '/troupe/api/keys')).json()) as {
    keys: { id: string; revokedAtMs: number | null; expiresAtMs: number | null }[]
  }
  for (const { id, revokedAtMs } of keys)
    if (revokedAtMs === null) await pages.troupe.request('DELETE', `/troupe/api/keys/${id}`)
}

const dialog = (page: Page, name: string | RegExp) => page.getByRole('dialog', { name })
const press = (where: Page | Locator, name: string) =>
  where.getByRole('button', { name, exact: true }).click()
const row = (page: Page, name: string) =>
  page.getByRole('listitem').filter({ has: page.getByRole('link', { name, exact: true }) })

/** Opens the page, and the form for a new key with a name in it. */
async function openMaker(name: string, token = owner): Promise<{ page: Page; maker: Locator }> {
  const page = await pages.open(token, '?page=keys')
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write'])
  await press(page, 'New key')
  const maker = dialog(page, 'New key')
  await maker.getByRole('textbox', { name: 'Name' }).fill(name)
  return { page, maker }
}

async function readSecret(page: Page, name: string): Promise<{ shown: Locator; secret: string }> {
  const shown = dialog(page, `${name} is ready`)
  const secret = (await shown.getByRole('region', { name: 'the secret' }).innerText()).trim()
  expect(secret).toMatch(SECRET)
  return { shown, secret }
}

/** What anybody could find later: the page, where it has been, and what it keeps. */
const traces = (page: Page) =>
  page.evaluate(() =>
    JSON.stringify([
      document.documentElement.outerHTML,
      location.href,
      history.state,
      Object.entries(localStorage),
      Object.entries(sessionStorage),
    ]),
  )

describe('an owner', () => {
  test('makes a key for a program, which works as pasted, and nothing keeps its secret', async () => {
    const { page, maker } = await openMaker('Home Assistant')
    await maker.getByLabel('Some; the others do not exist for it').check()
    await maker.getByRole('checkbox', { name: 'Pia' }).check()
    await maker.getByText('Limits', { exact: true }).click()
    await maker.getByLabel('Turns in a day').fill('1 000')
    await maker.getByLabel('Tokens in a month').fill('20,000')
    await press(maker, 'Make the key')

    const { shown, secret } = await readSecret(page, 'Home Assistant')
    await press(shown, 'Try it')
    await shown.getByText('It works. It sees 1 character (Pia).').waitFor()
    await press(shown, 'Copy the secret')
    await shown.getByText('Copied.').waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(secret)

    const curl = await shown.getByRole('region', { name: 'curl' }).innerText()
    expect((await run('bash', ['-c', `${curl} --silent`])).stdout).toContain('"content"')
    await press(shown, 'JavaScript')
    const script = await shown.getByRole('region', { name: 'JavaScript' }).innerText()
    expect((await run('node', ['--input-type=module', '-e', script])).stdout).not.toBe('')
    await press(shown, 'Python')
    const python = await shown.getByRole('region', { name: 'Python' }).innerText()
    expect(python).toContain(`OpenAI(base_url="${pages.troupe.url}/v1", api_key="${secret}")`)
    await press(shown, 'Open WebUI')
    expect(await shown.getByRole('region', { name: 'URL' }).innerText()).toBe(`${pages.troupe.url}/v1`)
    expect(await shown.getByRole('region', { name: 'Headers' }).count()).toBe(0)

    await press(shown, 'Done')
    await page.getByText('Home Assistant is made.').waitFor()
    expect(await traces(page)).not.toMatch(SECRET)
    await page.goForward()
    await maker.waitFor()
    expect(await traces(page)).not.toMatch(SECRET)
    expect(JSON.stringify(pages.troupe.logged)).not.toMatch(SECRET)
    await page.context().close()

    const again = await pages.open(owner, '?page=keys')
    const listed = row(again, 'Home Assistant')
    await listed.getByText('Used just now').waitFor()
    expect(await listed.getByRole('meter', { name: 'Turns today' }).getAttribute('aria-valuenow')).toBe('2')
    await listed.getByText('2 of 1,000').waitFor()
    await listed.getByText('May ask characters and list them').waitFor()
    await listed.getByText('Pia', { exact: true }).waitFor()
    await again.context().close()
    expect((await chat(secret, 'benno')).status).toBe(404)
  })

  test('changes a key, and its secret stays', async () => {
    const { secret } = await makeKey({ name: 'Bot', characterIds: ['pia'], limits: { turnsPerMinute: 9 } })
    const page = await pages.open(owner, '?page=keys')
    await page.getByRole('link', { name: 'Bot', exact: true }).click()
    const open = dialog(page, 'Bot')
    await open.getByText('Change it').click()
    expect(await open.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true)
    await open.getByRole('textbox', { name: 'Name' }).fill('Bot of the club')
    await open.getByRole('checkbox', { name: 'Benno' }).check()
    await open.getByRole('checkbox', { name: 'Pia' }).uncheck()
    await open.getByText('Limits', { exact: true }).click()
    await open.getByLabel('Turns in a minute').fill('')
    await open.getByLabel('Turns in a day').fill('50')
    await open.getByRole('textbox', { name: 'Days' }).fill('5')
    await press(open, 'Save')
    await page.getByText('Bot of the club is changed.').waitFor()
    await row(page, 'Bot of the club').getByText('Ends in 5 days').waitFor()
    await row(page, 'Bot of the club').getByText('Benno', { exact: true }).waitFor()
    await page.context().close()
    expect([(await chat(secret, 'benno')).status, (await chat(secret, 'pia')).status]).toEqual([200, 404])
    const { keys } = (await (await pages.troupe.request('GET', '/troupe/api/keys')).json()) as {
      keys: { name: string; limits: unknown }[]
    }
    expect(keys.find(({ name }) => name === 'Bot of the club')?.limits).toEqual({ turnsPerDay: 50 })
  })

  test('changes only what they changed, though another admin narrowed the key meanwhile', async () => {
    const { id, secret } = await makeKey({ name: 'Shared' })
    const page = await pages.open(owner, `?key=${id}`)
    const open = dialog(page, 'Shared')
    await open.getByText('Change it').click()
    await pages.troupe.request('PATCH', `/troupe/api/keys/${id}`, { body: { characterIds: ['pia'] } })
    await page.evaluate(() => window.dispatchEvent(new Event('focus')))
    await open.getByRole('definition').filter({ hasText: /^Pia$/ }).waitFor()
    expect(await open.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true)
    await open.getByRole('textbox', { name: 'Name' }).fill('Shared by two')
    await press(open, 'Save')
    await page.getByText('Shared by two is changed.').waitFor()
    await row(page, 'Shared by two').getByText('Pia', { exact: true }).waitFor()
    await page.context().close()
    expect([(await chat(secret, 'pia')).status, (await chat(secret, 'benno')).status]).toEqual([200, 404])
  })

  test('gives a key a new secret, and both work until the grace is over', async () => {
    const { id, secret: old } = await makeKey({ name: 'Wiki' })
    const page = await pages.open(owner, `?key=${id}`)
    const open = dialog(page, 'Wiki')
    await open.getByText('Give it a new secret').click()
    await open.getByLabel('The old secret').selectOption({ label: 'works for an hour more' })
    await press(open, 'Make the new secret')
    const { shown, secret } = await readSecret(page, 'Wiki')
    await shown.getByText('The old secret ends in 60 minutes.').waitFor()
    await press(shown, 'Copy the secret')
    await press(shown, 'Done')
    await page.getByText('Wiki has a new secret.').waitFor()
    expect(await row(page, 'Wiki').count()).toBe(2)
    await row(page, 'Wiki').getByText('Replaced').waitFor()
    await page.context().close()
    expect([(await chat(old)).status, (await chat(secret)).status]).toEqual([200, 200])
  })

  test('revokes a key after a question that names it', async () => {
    const { id, secret } = await makeKey({ name: 'Lost phone' })
    const page = await pages.open(owner, `?key=${id}`)
    await press(dialog(page, 'Lost phone'), 'Revoke')
    const question = page.getByRole('alertdialog', { name: 'Revoke Lost phone?' })
    await press(question, 'Keep')
    expect((await chat(secret)).status).toBe(200)
    await press(dialog(page, 'Lost phone'), 'Revoke')
    await press(question, 'Revoke')
    await page.getByText('Lost phone is revoked.').waitFor()
    expect((await chat(secret)).status).toBe(401)
    expect(await row(page, 'Lost phone').isVisible()).toBe(false)
    await page.getByText(/ended keys?$/).click()
    await row(page, 'Lost phone')
      .getByText(/^Revoked /)
      .waitFor()
    expect(await page.evaluate(() => document.activeElement?.tagName)).not.toBe('BODY')
    await page.context().close()
  })

  test('is warned before a secret goes that nobody copied', async () => {
    const { page, maker } = await openMaker('Hasty')
    await press(maker, 'Make the key')
    const { shown } = await readSecret(page, 'Hasty')
    const question = page.getByRole('alertdialog', { name: 'Close without copying?' })
    // A browser lets a page hold its dialog once; the second time it has to be brought back.
    for (let at = 0; at < 3; at++) {
      await page.keyboard.press('Escape')
      await press(question, 'Back')
      // Off the page, not only closed: no person is as quick as to press Escape between the two.
      await expect.poll(() => page.locator('[role=alertdialog]').count()).toBe(0)
      expect(await shown.isVisible()).toBe(true)
    }
    await press(shown, 'Done')
    await press(question, 'Close')
    await page.getByText('Hasty is made.').waitFor()
    expect(await traces(page)).not.toMatch(SECRET)
    await page.context().close()
  })

  test('copies by hand where a browser gives no clipboard', async () => {
    const { page, maker } = await openMaker('Plain http')
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }))
    await press(maker, 'Make the key')
    const { shown, secret } = await readSecret(page, 'Plain http')
    await press(shown, 'Copy the secret')
    await shown.getByText('It is selected: press Ctrl C').waitFor()
    expect(await page.evaluate(() => getSelection()?.toString())).toBe(secret)
    await page.keyboard.press('Control+C')
    await shown.getByText('Copied.').waitFor()
    await press(shown, 'Done')
    await page.getByText('Plain http is made.').waitFor()
    await page.context().close()
  })

  test('hears at the field what is wrong, and keeps what was typed', async () => {
    const gone = await pages.troupe.importCard({ name: 'Passing guest' })
    const { page, maker } = await openMaker('')
    await maker.getByText('Limits', { exact: true }).click()
    await maker.getByLabel('Turns in a day').fill('many')
    await maker.getByLabel('Some; the others do not exist for it').check()
    await press(maker, 'Make the key')
    await maker.getByText('Give it a name by which you will know it again.').waitFor()
    await maker.getByText('Write a whole number above 0, or leave it empty.').waitFor()
    await maker.getByText('Choose a character or a tag').waitFor()
    expect(
      await maker.getByRole('textbox', { name: 'Name' }).evaluate((box) => box === document.activeElement),
    ).toBe(true)

    await maker.getByRole('textbox', { name: 'Name' }).fill('Reader')
    await maker.getByLabel('Turns in a day').fill('7')
    await maker.getByRole('checkbox', { name: 'Passing guest' }).check()
    await pages.troupe.request('DELETE', `/troupe/api/characters/${gone}`)
    await press(maker, 'Make the key')
    const characters = maker.getByRole('group', { name: 'Which characters' })
    await characters.getByText(`There is no character "${gone}"`).waitFor()
    expect(await characters.evaluate((group) => group === document.activeElement)).toBe(true)
    expect(pages.complaints.splice(0)).toEqual([expect.stringContaining('400')])

    // Neither a step back nor a login that ends takes the draft.
    await page.goBack()
    await press(page, 'New key')
    expect(await maker.getByRole('textbox', { name: 'Name' }).inputValue()).toBe('Reader')
    await page.context().clearCookies()
    await press(maker, 'Make the key')
    await page.getByText('Sign in at Open WebUI first').waitFor()
    expect(pages.complaints.splice(0)).toEqual([expect.stringContaining('401')])
    await page.context().addCookies([{ name: 'token', value: owner, url: pages.troupe.url }])
    await press(page, 'Check again')
    expect(await maker.getByRole('textbox', { name: 'Name' }).inputValue()).toBe('Reader')
    await maker.getByRole('checkbox', { name: `${gone} is not in the library` }).uncheck()
    await maker.getByRole('checkbox', { name: 'Pia' }).check()
    await press(maker, 'Make the key')
    await readSecret(page, 'Reader')
    await page.context().close()
  })

  test('makes keys for other purposes, each with how it is used', async () => {
    const { page, maker } = await openMaker('Second house')
    await maker.getByRole('radio', { name: 'Another Open WebUI' }).check()
    await maker.getByRole('checkbox', { name: 'Speak for the people of an Open WebUI' }).check()
    await press(maker, 'Make the key')
    const house = await readSecret(page, 'Second house')
    await press(house.shown, 'Open WebUI')
    expect(await house.shown.getByRole('region', { name: 'Headers' }).innerText()).toContain('{{CHAT_ID}}')
    await press(house.shown, 'Copy Key (Bearer)')
    await press(house.shown, 'Done')
    await row(page, 'Second house').getByText('Speaks for people').waitFor()

    for (const [purpose, snippet, words] of [
      ['Prometheus', 'Prometheus', 'credentials: '],
      ['Embeddings only', 'curl', '/v1/embeddings'],
      ['Administration', 'curl, administration', '/troupe/api/characters'],
    ] as const) {
      await press(page, 'New key')
      await maker.getByRole('radio', { name: purpose }).check()
      await maker.getByRole('textbox', { name: 'Name' }).fill(`For ${purpose}`)
      expect(await maker.getByText('Which characters').count()).toBe(0)
      await press(maker, 'Make the key')
      const { shown, secret } = await readSecret(page, `For ${purpose}`)
      expect(await shown.getByRole('button', { name: 'Try it' }).count()).toBe(0)
      const pasted = await shown.getByRole('region', { name: snippet, exact: true }).innerText()
      expect(pasted).toContain(words)
      expect(pasted).toContain(secret)
      await press(shown, `Copy ${snippet}`)
      await press(shown, 'Done')
    }
    await page.context().close()
  })
})

describe('an admin', () => {
  test('is not offered what only owners hand out, and ends such a key all the same', async () => {
    const { secret } = await makeKey({ name: 'Main house', scopes: ['chat', 'models', 'forward-user'] })
    const { page, maker } = await openMaker('x', pages.openWebUi.adminToken)
    expect(await maker.getByRole('radio', { name: 'Administration' }).count()).toBe(0)
    await maker.getByRole('radio', { name: 'Something else' }).check()
    expect(await maker.getByRole('checkbox', { name: /Administer|Speak for/ }).count()).toBe(0)
    await maker.getByText('are made by owners').waitFor()
    await press(maker, 'Close')
    await page.getByRole('link', { name: 'Main house' }).click()
    const open = dialog(page, 'Main house')
    await open.getByText('so only an owner changes it').waitFor()
    expect(await open.getByText('Change it').count()).toBe(0)
    await press(open, 'Revoke')
    await press(page.getByRole('alertdialog'), 'Revoke')
    await page.getByText('Main house is revoked.').waitFor()
    expect((await chat(secret)).status).toBe(401)
    await page.context().close()
  })

  test('sees what cannot be reached, and the list comes back by itself', async () => {
    const page = await pages.open(pages.openWebUi.adminToken)
    await page.getByRole('heading', { name: 'Characters' }).waitFor()
    await page.route('**/troupe/api/keys', (route) => route.abort())
    await page.getByRole('link', { name: 'Keys' }).click()
    await page.getByText('Troupe does not answer').waitFor()
    await page.unroute('**/troupe/api/keys')
    await page.getByText('that work').first().waitFor({ timeout: 20_000 })
    await page.context().close()
    expect(pages.complaints.splice(0).every((text) => text.includes('ERR_FAILED'))).toBe(true)
  })

  test('hears what did not come, and works with what did', async () => {
    await makeKey({ name: 'Half seen', characterIds: ['pia'] })
    const page = await pages.open(pages.openWebUi.adminToken)
    await page.getByRole('link', { name: 'Pia' }).waitFor()
    const refuse = (address: string) =>
      page.route(address, (route) =>
        route.fulfill({ status: 500, json: { error: { message: 'The disk is full.' } } }),
      )
    await refuse('**/troupe/api/keys')
    await page.getByRole('link', { name: 'Keys' }).click()
    await page.getByText('The keys could not be read').waitFor()
    await page.getByText('The disk is full.').waitFor()
    await page.unroute('**/troupe/api/keys')
    await press(page, 'Try again')
    await row(page, 'Half seen').waitFor()
    await refuse('**/troupe/api/keys')
    await page.evaluate(() => window.dispatchEvent(new Event('focus')))
    await page.getByText('it may be out of date. The disk is full.').waitFor()
    await row(page, 'Half seen').waitFor()

    // Without the characters a key is shown with their ids, and one for all of them can still be made.
    await page.unroute('**/troupe/api/keys')
    await refuse('**/troupe/api/characters?*')
    await page.reload()
    await row(page, 'Half seen').getByText('pia', { exact: true }).waitFor()
    await press(page, 'New key')
    await page.getByLabel('Some; the others do not exist for it').check()
    await page.getByText('The characters could not be read. The disk is full.').waitFor()
    await page.context().close()
    expect(pages.complaints.splice(0).every((text) => text.includes('500'))).toBe(true)
  })
})

describe('a viewer', () => {
  test('is not led to the keys, and nothing is asked for that the role may not have', async () => {
    const { id, token } = pages.openWebUi.addPerson('Vera', 'user')
    await pages.troupe.request('PUT', `/troupe/api/roles/${id}`, { body: { role: 'viewer' } })
    const asked: string[] = []
    const page = await pages.open(token)
    page.on('request', (request) => asked.push(new URL(request.url()).pathname))
    await page.getByRole('link', { name: 'Lorebooks' }).waitFor()
    expect(await page.getByRole('link', { name: 'Keys' }).count()).toBe(0)
    await page.goto(`${pages.troupe.url}/troupe/?key=new`)
    await page.getByText('Keys are for admins; your role here is viewer.').waitFor()
    await page.getByRole('heading', { name: 'Characters', level: 1 }).waitFor()
    expect(await page.getByRole('dialog').count()).toBe(0)
    expect(new URL(page.url()).search).toBe('')
    expect(asked).toContain('/troupe/api/characters')
    expect(asked).not.toContain('/troupe/api/keys')
    await page.context().close()
  })
})

describe('somebody whose role changes while the page is open', () => {
  const give = (id: string, role: string) =>
    pages.troupe.request('PUT', `/troupe/api/roles/${id}`, { body: { role } })
  const refocus = (page: Page) => page.evaluate(() => window.dispatchEvent(new Event('focus')))

  test('goes on with what the new one may, and sees what it may not no longer', async () => {
    await makeKey({ name: 'Theirs' })
    const { id, token } = pages.openWebUi.addPerson('Adam', 'user')
    await give(id, 'admin')
    const page = await pages.open(token, '?page=keys')
    await row(page, 'Theirs').first().waitFor()
    await give(id, 'viewer')
    await refocus(page)
    await page.getByRole('heading', { name: 'Characters', level: 1 }).waitFor()
    await page.getByText('Keys are for admins; your role here is viewer.').waitFor()
    expect(await page.getByRole('link', { name: 'Keys' }).count()).toBe(0)
    expect(pages.complaints.splice(0)).toEqual([expect.stringContaining('403')])
    await page.context().close()
  })
})

describe('with a dozen keys', () => {
  beforeAll(async () => {
    await revokeAll()
    const used = async (turns: number, over: object) => {
      const { id, secret } = await makeKey(over)
      for (let at = 0; at < turns; at++) await chat(secret)
      return id
    }
    await used(0, { name: 'Search of the wiki', scopes: ['embeddings'], limits: { tokensPerDay: 500_000 } })
    await used(0, { name: 'Prometheus', scopes: ['metrics'], expiresInDays: null })
    await used(0, { name: 'Nightly import', scopes: ['admin'] })
    await used(3, { name: 'Bench of models', scopes: ['chat', 'models', 'base-models'], expiresInDays: 5 })
    await used(2, { name: 'Story evening', tags: ['Game master', 'Fantasy'], limits: { budgetPerMonth: 25 } })
    await used(5, {
      name: 'Quiz bot',
      characterIds: ['imani'],
      limits: { turnsPerMinute: 10, parallelTurns: 2 },
    })
    await used(4, {
      name: 'Page of the club',
      tags: ['Teacher'],
      origins: ['https://club.example'],
      limits: { turnsPerDay: 200, turnsPerMinute: 6 },
    })
    const old = await used(1, { name: 'Telegram bridge', limits: { turnsPerMonth: 3_000 } })
    await pages.troupe.request('POST', `/troupe/api/keys/${old}/rotate`, { body: { graceSeconds: 86_400 } })
    await used(6, {
      name: 'Open WebUI of the reading club',
      scopes: ['chat', 'models', 'embeddings'],
      expiresInDays: 365,
      limits: { turnsPerDay: 400, tokensPerMonth: 60_000, budgetPerMonth: 20 },
    })
    await used(0, {
      name: 'Open WebUI of the school',
      scopes: ['chat', 'models', 'embeddings', 'forward-user'],
      expiresInDays: null,
    })
    await used(5, {
      name: 'Help desk at the door',
      characterIds: ['pia', 'benno'],
      limits: { turnsPerDay: 5 },
    })
    await used(7, {
      name: 'Home Assistant in the kitchen',
      characterIds: ['pia'],
      limits: { turnsPerDay: 40, tokensPerMonth: 9_000 },
    })
  })

  test('shows them to everybody, and finds one among them', async () => {
    const page = await pages.open(owner, '?page=keys')
    await page.getByRole('link', { name: 'Quiz bot' }).waitFor()
    await expectAccessible(page, async (colorScheme, width) => {
      if (colorScheme !== 'light' || width !== 1280) return
      await page.screenshot({ path: path.join(IMAGES, 'keys-light-1280.png') })
    })
    await page.getByRole('searchbox', { name: 'Search keys' }).fill('IMANI list')
    expect(
      await page.getByRole('list', { name: 'Keys that work' }).getByRole('link').allInnerTexts(),
    ).toEqual(['Quiz bot'])
    await page.context().close()
  })

  test('lets everybody make one and open one', async () => {
    const { page, maker } = await openMaker('')
    await maker.getByRole('radio', { name: 'Something else' }).check()
    await maker.getByLabel('Some; the others do not exist for it').check()
    await maker.getByText('Limits', { exact: true }).click()
    await maker.getByText('Web pages and silent streams').click()
    await press(maker, 'Make the key')
    await expectAccessible(page)
    await maker.getByRole('textbox', { name: 'Name' }).fill('Reader')
    await maker.getByRole('checkbox', { name: 'Pia' }).check()
    await press(maker, 'Make the key')
    await readSecret(page, 'Reader')
    await expectAccessible(page)
    await page.setViewportSize({ width: 1280, height: 850 })
    await press(page, 'Copy the secret')
    await press(page, 'Done')
    await page.getByRole('link', { name: 'Open WebUI of the reading club' }).click()
    const open = dialog(page, 'Open WebUI of the reading club')
    await open.getByText('Change it').click()
    await open.getByText('Give it a new secret').click()
    await expectAccessible(page)
    await page.context().close()
  })
})
