/** What the page of one character offers. */
import { afterAll, beforeAll, expect, test } from 'vitest'

import { expectAccessible, openPages, type Pages } from '../support/pages.ts'

let pages: Pages
beforeAll(async () => {
  pages = await openPages()
})
afterAll(() => pages.close())

test('a character that is published leads to a chat with it in Open WebUI, and a draft does not', async () => {
  const id = await pages.troupe.importCard({ name: 'Mira' })
  const page = await pages.open(pages.openWebUi.adminToken, `?character=${id}`)
  const link = page.getByRole('link', { name: 'Chat with Mira' })
  expect(await link.getAttribute('href')).toBe(`${pages.openWebUi.url}/?model=${id}`)
  await expectAccessible(page)
  await pages.troupe.request('POST', `/troupe/api/characters/${id}/unpublish`)
  await page.reload()
  await page.getByText('1, a draft').waitFor()
  expect(await link.count()).toBe(0)
  expect(pages.complaints).toEqual([])
})
