/** A server in a process of its own that refuses whatever it is asked: what a load costs the machine and the test, and not the sidecar. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'

const PROGRAM = `require('http').createServer((q, a) => { q.resume(); q.on('end', () => a.writeHead(429).end()) })
  .listen(0, '127.0.0.1', function () { console.log(this.address().port) })
  process.stdin.resume().on('end', () => process.exit())`

/** One that a failed test leaves open ends with the process that opened it, as its input does. */
export async function openElsewhere(): Promise<{ url: string; close(): void }> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [port] = (await once(child.stdout, 'data')) as [Buffer]
  return { url: `http://127.0.0.1:${port.toString().trim()}`, close: () => void child.kill() }
}
