/** Ids and hashes. */
import { createHash, createHmac, randomBytes } from 'node:crypto'

/** Crockford's base 32: no letter that is mistaken for another. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_CHARACTERS = 10
const RANDOM_CHARACTERS = 16

/**
 * A ULID: 48 bits of time and 80 of chance in 26 characters, so that ids sort by the moment they were made.
 * Source: github.com/ulid/spec.
 */
export function createId(atMs: number): string {
  let time = ''
  let rest = atMs
  for (let at = 0; at < TIME_CHARACTERS; at++) {
    time = (ALPHABET[rest % 32] ?? '') + time
    rest = Math.floor(rest / 32)
  }
  const chance = Array.from(randomBytes(RANDOM_CHARACTERS), (byte) => ALPHABET[byte % 32]).join('')
  return time + chance
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/**
 * The same id always has the same pseudonym under one secret, and nobody without the secret can test a guess.
 * 128 bits in 22 characters; `kind` keeps equal ids of different things apart.
 */
export function pseudonym(secret: string, kind: string, id: string): string {
  return createHmac('sha256', secret).update(`${kind}\0${id}`).digest().subarray(0, 16).toString('base64url')
}
