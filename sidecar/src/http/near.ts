/** Who asks from this machine, and learns without a key what is nobody else's business. */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'

/** From this machine, and not through a proxy on it that speaks for the world. */
export const isNear = ({ socket, headers }: IncomingMessage): boolean =>
  isLoopback(socket.remoteAddress) &&
  headers['x-forwarded-for'] === undefined &&
  headers.forwarded === undefined

function isLoopback(address = ''): boolean {
  const plain = address.replace(/^::ffff:/, '')
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
}
