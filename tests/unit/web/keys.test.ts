/** What the pages say of API keys, what they send, and what is pasted to use one. */
import { describe, expect, test } from 'vitest'

import { TEMPLATES } from '../../../scripts/setup/open-webui.mjs'
import {
  castWords,
  endWords,
  isEndingSoon,
  isForOwners,
  mayWords,
  quotaAmount,
  quotaLevel,
  rateWords,
  standingOf,
  useWords,
  type Key,
} from '../../../sidecar/web/src/key.ts'
import {
  changeOf,
  draftOf,
  faultsOf,
  fieldOf,
  newDraft,
  PURPOSES,
  sentenceOf,
  wishOf,
  type Draft,
} from '../../../sidecar/web/src/key-draft.ts'
import { CONNECTION_HEADERS, snippetsFor } from '../../../sidecar/web/src/snippets.ts'

const NOW = Date.UTC(2027, 4, 3, 12)
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const KEY: Key = {
  id: 'abcdefghijkl',
  name: 'Bot',
  scopes: ['chat', 'models'],
  characterIds: null,
  tags: null,
  limits: {},
  keepAlive: 'comment',
  origins: [],
  createdBy: 'Olga',
  createdAtMs: NOW - 30 * DAY_MS,
  expiresAtMs: null,
  revokedAtMs: null,
  lastUsedAtMs: null,
  replacedBy: null,
  quotas: [],
}

describe('a key in words', () => {
  test.each([
    [['chat'], 'May ask characters'],
    [['models', 'chat', 'embeddings'], 'May ask characters, list them, and make embeddings'],
    [['admin'], 'May administer Troupe'],
    [['chat', 'newer'], 'May ask characters and "newer"'],
  ])('%j says "%s"', (scopes, words) => {
    expect(mayWords(scopes)).toBe(words)
  })

  test.each([
    [{}, 'All characters'],
    [{ characterIds: ['a', 'b'] }, 'A and B'],
    [{ characterIds: ['a', 'b', 'c', 'd'] }, 'A, B, C, and D'],
    [{ characterIds: ['a', 'b', 'c', 'd', 'e'] }, 'A, B, C, and 2 more'],
    [{ tags: ['sea', 'land'] }, 'All tagged “sea” and all tagged “land”'],
    [{ characterIds: ['a'], tags: ['sea'] }, 'A and all tagged “sea”'],
  ])('%j may ask %s', (over, words) => {
    expect(castWords({ ...KEY, ...over }, (id) => id.toUpperCase())).toBe(words)
  })

  test.each([
    [{}, 'works', 'Never ends', false],
    [{ expiresAtMs: NOW + 90 * DAY_MS }, 'works', 'Ends Aug 1, 2027', false],
    [{ expiresAtMs: NOW + 5 * DAY_MS }, 'works', 'Ends in 5 days', true],
    [{ expiresAtMs: NOW + 36 * HOUR_MS }, 'works', 'Ends in 36 hours', true],
    [{ expiresAtMs: NOW + HOUR_MS, replacedBy: 'other' }, 'replaced', 'Ends in 60 minutes', true],
    [{ expiresAtMs: NOW, replacedBy: 'other' }, 'ended', 'Ended May 3, 2027', false],
    [{ revokedAtMs: NOW - DAY_MS, expiresAtMs: NOW + DAY_MS }, 'revoked', 'Revoked May 2, 2027', false],
  ])('%j is one that %s: %s', (over, standing, words, isSoon) => {
    const key = { ...KEY, ...over }
    expect([standingOf(key, NOW), endWords(key, NOW), isEndingSoon(key, NOW)]).toEqual([
      standing,
      words,
      isSoon,
    ])
  })

  test.each([
    [null, 'Never used'],
    [NOW - 90_000, 'Used just now'],
    [NOW - 5 * HOUR_MS, 'Used 5 hours ago'],
    [NOW - 20 * DAY_MS, 'Used Apr 13, 2027'],
  ])('used at %s says "%s"', (lastUsedAtMs, words) => {
    expect(useWords({ lastUsedAtMs }, NOW)).toBe(words)
  })

  test('tells how full a quota is, and rates in words', () => {
    const quota = { of: 'budget', per: 'month', limit: 25, used: 20, resetsAtMs: NOW } as const
    expect([quotaAmount(quota), quotaLevel(quota)]).toEqual(['20.00 of 25.00', 'near'])
    expect(quotaLevel({ ...quota, used: 19.99 })).toBe('fine')
    expect(quotaLevel({ ...quota, used: 25 })).toBe('full')
    expect(quotaAmount({ ...quota, of: 'tokens', limit: 60_000 })).toBe('20 of 60,000')
    expect(rateWords({ turnsPerMinute: 1, parallelTurns: 2, turnsPerDay: 9 })).toEqual([
      '1 turn in a minute',
      '2 at the same time',
    ])
  })
})

describe('a draft', () => {
  const draft = (over: Partial<Draft> = {}): Draft => ({ ...newDraft(), name: 'Bot', ...over })
  const limits = (over: Partial<Draft['limits']>) => ({ ...newDraft().limits, ...over })

  test('of each purpose is sent with its scopes, and only those for owners speak for others', () => {
    for (const { id, scopes } of PURPOSES) {
      expect(wishOf(draft({ purpose: id, scopes }))).toEqual({ name: 'Bot', scopes, expiresInDays: 90 })
      expect(isForOwners(scopes)).toBe(id === 'admin')
    }
  })

  test('is sent as it was meant', () => {
    const wish = wishOf(
      draft({
        name: ' Bot ',
        isForAll: false,
        tags: ['sea'],
        limits: limits({ turnsPerDay: '1,000', tokensPerMonth: "2 000'000", budgetPerMonth: '12.50' }),
        end: 'never',
        origins: 'https://club.example/\nhttps://club.example http://localhost:3000',
        keepAlive: 'off',
      }),
    )
    expect(wish).toEqual({
      name: 'Bot',
      scopes: ['chat', 'models'],
      expiresInDays: null,
      tags: ['sea'],
      limits: { turnsPerDay: 1_000, tokensPerMonth: 2_000_000, budgetPerMonth: 12.5 },
      origins: ['https://club.example', 'http://localhost:3000'],
      keepAlive: 'off',
    })
  })

  test('names no characters for a key that asks none', () => {
    const some = { isForAll: false, characterIds: ['mira'] }
    expect(wishOf(draft(some))).toHaveProperty('characterIds', ['mira'])
    expect(wishOf(draft({ ...some, scopes: ['metrics'] }))).not.toHaveProperty('characterIds')
    expect(faultsOf(draft({ isForAll: false, scopes: ['metrics'] }))).toEqual({})
  })

  test.each([
    [{ name: '  ' }, 'name'],
    [{ name: 'x'.repeat(101) }, 'name'],
    [{ scopes: [] }, 'scopes'],
    [{ isForAll: false }, 'characterIds'],
    [{ limits: limits({ turnsPerDay: '0' }) }, 'limits.turnsPerDay'],
    [{ limits: limits({ tokensPerDay: '1.5' }) }, 'limits.tokensPerDay'],
    [{ limits: limits({ parallelTurns: '-1' }) }, 'limits.parallelTurns'],
    [{ limits: limits({ budgetPerMonth: '12,50' }) }, 'limits.budgetPerMonth'],
    [{ days: '' }, 'expiresInDays'],
    [{ days: '3651' }, 'expiresInDays'],
    [{ origins: 'club.example' }, 'origins'],
    [{ origins: 'https://club.example/page' }, 'origins'],
  ])('%j is wrong at %s', (over, field) => {
    expect(Object.keys(faultsOf(draft(over)))).toEqual([field])
  })

  test('without a fault has none', () => {
    expect(faultsOf(draft({ limits: limits({ budgetPerMonth: '0.5' }), days: '1' }))).toEqual({})
    expect(faultsOf(draft({ days: 'for ever', end: 'never' }))).toEqual({})
  })

  test('of a key changes what was touched and nothing else', () => {
    const key: Key = {
      ...KEY,
      scopes: ['chat', 'newer'],
      characterIds: ['mira', 'bo'],
      limits: { turnsPerDay: 5 },
      origins: ['https://club.example'],
      expiresAtMs: NOW,
    }
    const same = draftOf(key)
    expect(changeOf(key, same)).toEqual({})
    expect(changeOf(key, { ...same, characterIds: ['bo', 'mira'] })).toEqual({})
    expect(changeOf(key, { ...same, isForAll: true })).toEqual({ characterIds: null })
    expect(changeOf(key, { ...same, characterIds: [], tags: ['sea'] })).toEqual({
      characterIds: null,
      tags: ['sea'],
    })
    expect(changeOf(key, { ...same, limits: limits({}) })).toEqual({ limits: null })
    expect(changeOf(key, { ...same, limits: limits({ turnsPerDay: '5', turnsPerMonth: '9' }) })).toEqual({
      limits: { turnsPerDay: 5, turnsPerMonth: 9 },
    })
    expect(changeOf(key, { ...same, origins: '', end: 'never' })).toEqual({
      origins: null,
      expiresInDays: null,
    })
    expect(changeOf(key, { ...same, end: 'days', days: '7' })).toEqual({ expiresInDays: 7 })
  })

  test('of a key that can ask nobody keeps its characters, also when it may ask later', () => {
    const key: Key = { ...KEY, scopes: ['embeddings'], characterIds: ['mira'], tags: ['sea'] }
    const same = draftOf(key)
    expect(changeOf(key, { ...same, name: 'Search' })).toEqual({ name: 'Search' })
    expect(changeOf(key, { ...same, scopes: ['chat'] })).toEqual({ scopes: ['chat'] })
    const asking: Key = { ...key, scopes: ['chat'] }
    expect(changeOf(asking, { ...draftOf(asking), scopes: ['embeddings'] })).toEqual({
      scopes: ['embeddings'],
    })
  })

  test.each([
    ['limits.turnsPerDay', 'limits.turnsPerDay'],
    ['characterIds.3', 'characterIds'],
    ['origins.0', 'origins'],
    ['scopes', 'scopes'],
    ['keepAlive', undefined],
    ['', undefined],
  ])('that is refused for "%s" says so at %s', (param, field) => {
    expect(fieldOf(param)).toBe(field)
  })

  test('shows a refusal without the name of its field', () => {
    expect(sentenceOf('"origins.0": must be an origin')).toBe('Must be an origin')
    expect(sentenceOf('There is no character "x"; look')).toBe('There is no character "x"; look')
  })
})

describe('what is pasted', () => {
  const parts = { origin: 'https://club.example:8443', secret: 'troupe_x', model: 'mira' }
  const titles = (...scopes: string[]) => snippetsFor({ ...parts, scopes }).map(({ title }) => title)
  const text = (title: string, ...scopes: string[]) =>
    snippetsFor({ ...parts, scopes })
      .find((snippet) => snippet.title === title)
      ?.blocks.map((block) => block.text)
      .join('\n')

  test('is for what the key may', () => {
    expect(titles('chat', 'models')).toEqual(['curl', 'Python', 'JavaScript', 'Open WebUI'])
    expect(titles('embeddings')).toEqual(['curl', 'Python'])
    expect(titles('metrics')).toEqual(['Prometheus'])
    expect(titles('admin')).toEqual(['curl, administration', 'Command line'])
    expect(titles('events')).toEqual([])
  })

  test('has the address, the secret and a character', () => {
    for (const title of ['curl', 'Python', 'JavaScript']) {
      const pasted = text(title, 'chat')
      for (const part of ['https://club.example:8443/v1', 'troupe_x', 'mira']) expect(pasted).toContain(part)
    }
    expect(text('Prometheus', 'metrics')).toContain('scheme: https\n')
    expect(text('Prometheus', 'metrics')).toContain("- targets: ['club.example:8443']")
  })

  test('has the headers that our own setup gives an Open WebUI, for a key that speaks for its people', () => {
    expect(CONNECTION_HEADERS).toEqual(TEMPLATES)
    expect(text('Open WebUI', 'chat', 'forward-user')).toContain('"X-Troupe-Chat-Id": "{{CHAT_ID}}"')
    expect(text('Open WebUI', 'chat')).not.toContain('X-Troupe')
  })
})
