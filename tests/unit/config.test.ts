import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import path from 'node:path'

import { describe, expect, test } from 'vitest'

import { openApp } from '../../sidecar/src/app.ts'
import { ConfigError, readConfig } from '../../sidecar/src/config.ts'
import { Environment } from '../../sidecar/src/environment.ts'

const LONG = 'k3p9-long-enough-and-not-guessed'

/** What several processes need. */
const SHARED = {
  DATABASE_URL: 'postgres://a/b',
  ANALYTICS_DATABASE_URL: 'postgres://a/c',
  REDIS_URL: 'redis://a',
  TROUPE_PSEUDONYM_SECRET: LONG,
}

function faults(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
  }
  return []
}

test('an empty environment is a working configuration on loopback', () => {
  expect(readConfig({})).toMatchObject({
    host: '127.0.0.1',
    port: 8787,
    publicUrl: 'http://127.0.0.1:8787',
    ollamaUrls: ['http://127.0.0.1:11434'],
    openAiServers: [],
    openWebUi: undefined,
  })
})

test('lists are read as Open WebUI writes them, keys beside their addresses', () => {
  const config = readConfig({
    OPENAI_API_BASE_URLS: 'http://a/v1/; http://b/v1',
    OPENAI_API_KEYS: ';key-b',
    OLLAMA_BASE_URL: '',
  })
  expect(config.openAiServers).toEqual([
    { url: 'http://a/v1', key: undefined },
    { url: 'http://b/v1', key: 'key-b' },
  ])
  expect(config.ollamaUrls).toEqual([])
})

test.each([
  ['nothing', {}, 1, 1],
  ['one', { TROUPE_WORKERS: '1' }, 1, 1],
  ['three in each of two sidecars', { TROUPE_WORKERS: '3', TROUPE_REPLICAS: '2', ...SHARED }, 3, 6],
])('workers count as replicas: %s', (_name, env, workers, replicas) => {
  expect(readConfig(env)).toMatchObject({ workers, replicas })
})

test.each([
  ['SQLite alone, whatever is set', { DATABASE_CONNECTIONS: '1' }, 1],
  ['one process', SHARED, 10],
  ['six processes with four pools each', { TROUPE_REPLICAS: '6', ...SHARED }, 4],
  [
    'and a standby of the figures',
    { TROUPE_REPLICAS: '6', ANALYTICS_REPLICA_URL: 'postgres://a', ...SHARED },
    3,
  ],
  ['records alone', { ANALYTICS_DATABASE_URL: 'postgres://a/c', DATABASE_CONNECTIONS: '4' }, 2],
  ['as many processes as there is room for', { TROUPE_REPLICAS: '25', ...SHARED }, 1],
])('all pools of all processes stay within the connections of PostgreSQL: %s', (_name, env, inPool) => {
  expect(readConfig(env).connectionsInPool).toBe(inPool)
})

test('more processes than there are connections for are refused, with what to set', () => {
  expect(faults({ TROUPE_REPLICAS: '13', TROUPE_WORKERS: '2', ...SHARED })).toEqual([
    'DATABASE_CONNECTIONS is 100, and 26 processes (TROUPE_REPLICAS × TROUPE_WORKERS) need one for each of 4 pools: set it to 104 or more, and max_connections of PostgreSQL above it',
  ])
})

test('"auto" is one worker for each core', () => {
  const cores = availableParallelism()
  expect(readConfig({ TROUPE_WORKERS: 'auto', ...SHARED })).toMatchObject({ workers: cores, replicas: cores })
})

test.each(['0', '-1', '1.5', 'many', '65', 'AUTO'])('%j workers are refused', (TROUPE_WORKERS) => {
  expect(faults({ TROUPE_WORKERS })).toMatchObject([expect.stringMatching(/^TROUPE_WORKERS .*1 to 64.*auto/)])
})

test('several workers over stores of one process are refused, with what to set', () => {
  const [fault] = faults({ TROUPE_WORKERS: '2' })
  for (const name of Object.keys(SHARED)) expect(fault).toContain(name)
})

test('all faults are told at once, each with its variable', () => {
  const found = faults({
    TROUPE_PORT: 'many',
    TROUPE_TIME_ZONE: 'Berlin',
    TROUPE_ADMIN_KEY: 'short',
    DATABASE_URL: 'mysql://x',
    OLLAMA_BASE_URL: 'ollama',
  })
  expect(found.map((fault) => fault.split(' ')[0]).sort()).toEqual([
    'DATABASE_URL',
    'OLLAMA_BASE_URL',
    'TROUPE_ADMIN_KEY',
    'TROUPE_PORT',
    'TROUPE_TIME_ZONE',
  ])
})

describe('a dangerous setting is refused and named', () => {
  test.each([
    [
      'several sidecars on SQLite',
      { TROUPE_REPLICAS: '2' },
      /DATABASE_URL .* REDIS_URL .* TROUPE_PSEUDONYM_SECRET/,
    ],
    [
      'several sidecars without Redis',
      {
        TROUPE_REPLICAS: '2',
        DATABASE_URL: 'postgres://a/b',
        ANALYTICS_DATABASE_URL: 'postgres://a/b',
        TROUPE_PSEUDONYM_SECRET: LONG,
      },
      /set REDIS_URL \(redis:\/\/…\)$/,
    ],
    [
      'open to the network without proof of the user',
      { TROUPE_HOST: '0.0.0.0', TROUPE_CONNECTION_KEY: LONG },
      /OPENWEBUI_JWT_SECRET/,
    ],
    [
      'one key for Open WebUI and for admins',
      { TROUPE_CONNECTION_KEY: LONG, TROUPE_ADMIN_KEY: LONG },
      /TROUPE_ADMIN_KEY equals/,
    ],
    ['a budget that nothing can reach', { TROUPE_BUDGET_PER_MONTH: '5' }, /set TROUPE_PRICES/],
    [
      'secrets of fields out of a document',
      { TROUPE_FIELD_KEYS: 'change-me-'.repeat(4) },
      /TROUPE_FIELD_KEYS/,
    ],
    [
      'a secret out of a document',
      { TROUPE_ADMIN_KEY: 'change-me-change-me-change-me-change-me' },
      /TROUPE_ADMIN_KEY is an example/,
    ],
    [
      'a secret without any chance in it',
      { OPENWEBUI_JWT_SECRET: 'ab'.repeat(20) },
      /OPENWEBUI_JWT_SECRET is an example/,
    ],
    [
      'plain headers where others can reach us',
      { TROUPE_HOST: '0.0.0.0', TROUPE_ADMIN_KEY: LONG, TROUPE_TRUST_PLAIN_HEADERS: 'true' },
      /unset TROUPE_TRUST_PLAIN_HEADERS/,
    ],
    [
      'a debugger where others can reach us',
      { TROUPE_HOST: '0.0.0.0', TROUPE_ADMIN_KEY: LONG, NODE_OPTIONS: '--inspect=0.0.0.0:9229' },
      /take --inspect out of NODE_OPTIONS/,
    ],
    ['nobody to administer it', { TROUPE_HOST: '0.0.0.0' }, /set TROUPE_ADMIN_KEY/],
    ['a limit that is none', { TROUPE_TURN_LIMIT: 'many' }, /TROUPE_TURN_LIMIT is not a number and seconds/],
    ['prices that are none', { TROUPE_PRICES: 'a=b' }, /TROUPE_PRICES is not a list/],
    ['an Open WebUI key without its address', { OPENWEBUI_API_KEY: 'sk-1' }, /OPENWEBUI_URL/],
    [
      'more keys than servers',
      { OPENAI_API_KEYS: 'a;b', OPENAI_API_BASE_URLS: 'http://a/v1' },
      /OPENAI_API_KEYS/,
    ],
  ])('%s', (_name, env, expected) => {
    expect(faults(env as Record<string, string>).join()).toMatch(expected)
  })
})

test('a variable without a value counts as absent, as a compose file hands it on; of Ollama it says none', () => {
  const named = Object.keys(Environment.shape).filter((name) => name !== 'OLLAMA_BASE_URL')
  expect(readConfig(Object.fromEntries(named.map((name) => [name, ''])))).toEqual(readConfig({}))
  expect(readConfig({ OLLAMA_BASE_URL: '' }).ollamaUrls).toEqual([])
})

test.each([
  ['more days than the calendar has', { ANALYTICS_RECORD_DAYS: '9999999' }, /at most 36500/],
  ['more months than the calendar has', { ANALYTICS_ROLLUP_MONTHS: '99999' }, /at most 1200/],
  ['seconds that no timer can wait', { TROUPE_ANSWER_SECONDS: '3000000' }, /at most 604800/],
  ['seconds of a drain that no timer can wait', { TROUPE_DRAIN_SECONDS: '3000000' }, /at most 604800/],
  ['a standby that is a file', { ANALYTICS_REPLICA_URL: 'file:/tmp/x.sqlite' }, /must begin with postgres/],
  ['a host of webhooks that is an address', { TROUPE_WEBHOOK_HOSTS: 'https://foo.com/x' }, /neither a host/],
  [
    'a port of webhooks that is none',
    { TROUPE_WEBHOOK_HOSTS: 'hooks.internal; 127.0.0.1:x' },
    /neither a host/,
  ],
])('%s: refused', (_name, env, expected) => {
  expect(faults(env)).toEqual([expect.stringMatching(expected)])
})

test('hosts of webhooks may be names and addresses, with a port or without', () => {
  const hosts = ['hooks.internal', '127.0.0.1:8080', '[::1]:9000']
  expect(readConfig({ TROUPE_WEBHOOK_HOSTS: hosts.join(';') }).webhookHosts).toEqual(hosts)
})

test('the table of settings in the README names every variable with its meaning', () => {
  const readme = readFileSync('README.md', 'utf8')
  for (const [name, schema] of Object.entries(Environment.shape)) {
    const row = readme.split('\n').find((line) => line.startsWith(`| \`${name}\` `))
    expect(row, name).toContain(schema.description)
  }
})

test('a data folder that cannot be made is refused with the variable', async () => {
  const config = readConfig({ TROUPE_DATA_DIR: path.resolve('README.md', 'data') })
  await expect(openApp(config, { webDir: '.' })).rejects.toMatchObject({
    code: 'invalid',
    message: expect.stringMatching(
      /^TROUPE_DATA_DIR: .* cannot be made \(ENOTDIR\); name a folder/,
    ) as string,
  })
})

const PASSWORD = 'hunter2'

test.each([
  [
    'a PostgreSQL that does not answer',
    { DATABASE_URL: `postgres://troupe:${PASSWORD}@127.0.0.1:9/house` },
    /^The PostgreSQL database at 127\.0\.0\.1:9\/house cannot be used \(ECONNREFUSED\); check DATABASE_URL, that it runs, /,
  ],
  [
    'an address that is none',
    { ANALYTICS_DATABASE_URL: `postgres://troupe:${PASSWORD}@:x/house` },
    /^The PostgreSQL database cannot be used \(ERR_INVALID_URL\); check ANALYTICS_DATABASE_URL, /,
  ],
  [
    'a file that is no database',
    { DATABASE_URL: `file:${path.resolve('README.md')}` },
    /^The SQLite file \S+README\.md cannot be used \(SQLITE_NOTADB\); check DATABASE_URL and that its folder /,
  ],
])('%s is told at the start with its variable and without its password', async (_name, env, expected) => {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-start-'))
  const config = readConfig({ TROUPE_DATA_DIR: dataDir, ...env })
  const start = openApp(config, { webDir: '.' })
  await expect(start).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringMatching(expected) as string,
  })
  await expect(start).rejects.toMatchObject({ message: expect.not.stringContaining(PASSWORD) as string })
  await rm(dataDir, { recursive: true })
})
