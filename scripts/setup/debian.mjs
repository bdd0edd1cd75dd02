/** Installs the Debian packages that the tests start as real servers. Does nothing where they are there already. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'

import { installLog } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { runCommand } from './processes.mjs'

/** A package, a file that shows that it (or the like of it from elsewhere) is there, and what it is for. */
const PACKAGES = [
  { name: 'postgresql', file: '/usr/lib/postgresql', purpose: 'the store on PostgreSQL' },
  { name: 'redis-server', file: '/usr/bin/redis-server', purpose: 'shared limits' },
  { name: 'strace', file: '/usr/bin/strace', purpose: 'a disk that fails' },
  { name: 'nginx', file: '/usr/sbin/nginx', purpose: 'streaming through a reverse proxy' },
  { name: 'chromium', file: '/usr/bin/chromium', purpose: 'the pages and Open WebUI in a browser' },
  {
    name: 'fonts-noto-color-emoji',
    file: '/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf',
    purpose: 'emoji in screenshots',
  },
  {
    name: 'debian-policy',
    file: '/usr/share/doc/debian-policy/policy.pdf.gz',
    purpose: 'one long text as PDF, EPUB, HTML and plain text',
  },
  { name: 'nlohmann-json3-dev', file: '/usr/include/nlohmann/json.hpp', purpose: 'building Ollama' },
  { name: 'libstb-dev', file: '/usr/include/stb/stb_image.h', purpose: 'building Ollama' },
]

const POLICY = '/usr/sbin/policy-rc.d'

/** Installs what is missing. Throws SetupError when that takes root, or when apt fails. */
export async function installDebianPackages() {
  const missing = PACKAGES.filter(({ file }) => !existsSync(file))
  if (missing.length === 0) return
  const names = missing.map(({ name }) => name)
  if (!existsSync('/usr/bin/apt-get') || process.getuid?.() !== 0) {
    const wanted = missing.map(({ name, purpose }) => `${name} (${purpose})`)
    throw new SetupError(`Missing here: ${wanted.join(', ')}`, {
      remedy: `as root on Debian: apt-get install ${names.join(' ')}`,
    })
  }
  await withoutStartingServices(async () => {
    await apt('update')
    // Small images of Debian leave the documents of packages out, which are what we want of debian-policy.
    const documents = 'Dpkg::Options::=--path-include=/usr/share/doc/debian-policy/*'
    await apt('install', '--yes', '--no-install-recommends', '-o', documents, ...names)
  })
}

/**
 * Freshly installed servers would start at once and listen (nginx on every address); the tests start their own.
 *
 * @param {() => Promise<void>} install
 */
async function withoutStartingServices(install) {
  if (existsSync(POLICY)) return install()
  const remove = () => rmSync(POLICY, { force: true })
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  // Left behind by a Ctrl-C, it would keep every later service of this machine from starting.
  process.once('exit', remove)
  try {
    await install()
  } finally {
    remove()
  }
}

/**
 * @param {string} action
 * @param {string[]} args
 */
async function apt(action, ...args) {
  await runCommand({
    name: `apt-get ${action} ${args.filter((arg) => !arg.startsWith('-')).join(' ')}`.trim(),
    command: 'apt-get',
    args: ['-q', action, ...args],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    logFile: installLog(`apt-${action}`),
    remedy: 'check the connection to the Debian mirror, or install the packages by hand',
  })
}
