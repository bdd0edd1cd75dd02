/** A real nginx with the configuration that we ship, in front of some sidecars: on a free port, gone afterwards. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { freePort } from './process.ts'

const PROGRAM = '/usr/sbin/nginx'
const SHIPPED = path.resolve('compose/nginx/troupe.conf')

export const hasNginx = existsSync(PROGRAM)

/** Resolves when it takes connections. */
export async function startNginx(
  sidecars: readonly string[],
): Promise<{ url: string; stop: () => Promise<void> }> {
  const dir = await mkdtemp(path.join(tmpdir(), 'troupe-nginx-'))
  const port = await freePort()
  await writeFile(path.join(dir, 'troupe.conf'), await shippedFor(port, sidecars))
  await writeFile(path.join(dir, 'nginx.conf'), around(dir))
  const args = ['-c', path.join(dir, 'nginx.conf'), '-e', path.join(dir, 'error.log')]
  const child = spawn(PROGRAM, args, { stdio: 'ignore' })
  const url = `http://127.0.0.1:${String(port)}`
  for (let tries = 0; !(await answers(url)); tries++) {
    if (child.exitCode !== null || tries > 400)
      throw new Error(`nginx did not start:\n${await readFile(path.join(dir, 'error.log'), 'utf8')}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return {
    url,
    async stop() {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** Only what every operator has to change is changed: who listens, and who serves. */
async function shippedFor(port: number, sidecars: readonly string[]): Promise<string> {
  const shipped = await readFile(SHIPPED, 'utf8')
  const [line = ''] = /^ *server 127\.0\.0\.1:8787 .*\n/m.exec(shipped) ?? []
  const servers = sidecars.map((url) => line.replace('127.0.0.1:8787', new URL(url).host)).join('')
  const changed = shipped
    .replace(/( *server 127\.0\.0\.1:\d+ .*\n)+/, servers)
    .replace('listen 127.0.0.1:8080;', `listen 127.0.0.1:${String(port)};`)
  if (line === '' || changed.includes(':8787') || changed.includes(':8080'))
    throw new Error(`${SHIPPED} is not as this test knows it`)
  return changed
}

/** What a distribution has around the files of `conf.d`. */
function around(dir: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((what) => `  ${what}_temp_path ${path.join(dir, what)};\n`)
    .join('')
  // Only root may lend its rights, and its workers could not look into this folder otherwise.
  const user = process.getuid?.() === 0 ? 'user root;\n' : ''
  return `${user}daemon off;
worker_processes 2;
pid ${path.join(dir, 'nginx.pid')};
events { worker_connections 1024; }
http {
  access_log off;
${temporary}  include ${path.join(dir, 'troupe.conf')};
}
`
}

async function answers(url: string): Promise<boolean> {
  try {
    await fetch(`${url}/livez`)
    return true
  } catch {
    // Not listening yet.
    return false
  }
}
