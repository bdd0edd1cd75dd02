/// <reference lib="dom" />
/** The pages in a real browser: the whole app in this process, beside an Open WebUI without pages that knows who is signed in. */
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser, Page } from 'playwright-core'
import { expect } from 'vitest'

import { openTestApp, type TestApp } from './app.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from './fake-open-webui.ts'
import { launchBrowser } from './stack.ts'

/** Each theme, on a desk and on a phone. */
export const SCREENS = [
  ['light', 1280],
  ['dark', 1280],
  ['light', 390],
  ['dark', 390],
] as const

export interface Pages {
  troupe: TestApp
  openWebUi: FakeOpenWebUi
  /** A window of somebody who is signed in at Open WebUI by this token, at a path below `/troupe/`. */
  open(token: string, where?: string): Promise<Page>
  /** What the browser complained about in any window, such as a breach of the policy. */
  complaints: string[]
  close(): Promise<void>
}

export async function openPages(env: Record<string, string> = {}): Promise<Pages> {
  const openWebUi = await openFakeOpenWebUi()
  const troupe = await openTestApp({
    OPENWEBUI_URL: openWebUi.url,
    OPENWEBUI_API_KEY: openWebUi.adminKey,
    ...env,
  })
  const browser: Browser = await launchBrowser()
  const complaints: string[] = []
  return {
    troupe,
    openWebUi,
    complaints,
    async open(token, where = '') {
      const context = await browser.newContext({ viewport: { width: 1280, height: 850 } })
      await context.addCookies([{ name: 'token', value: token, url: troupe.url }])
      const page = await context.newPage()
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
      page.on('pageerror', (error) => complaints.push(error.message))
      await page.goto(`${troupe.url}/troupe/${where}`)
      return page
    },
    async close() {
      await browser.close()
      await troupe.close()
      await openWebUi.close()
    },
  }
}

/** Accessible by the rules of axe, and nothing wider than the screen, on every screen; `look` is called on each. */
export async function expectAccessible(
  page: Page,
  look: (colorScheme: string, width: number) => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  for (const [colorScheme, width] of SCREENS) {
    // Colours that are on their way from one theme to the other have a contrast that nobody sees.
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.setViewportSize({ width, height: 850 })
    const { violations } = await new AxeBuilder({ page }).analyze()
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ''}`)).toEqual([])
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
    await look(colorScheme, width)
  }
}
