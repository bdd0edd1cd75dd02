/** Ids and hashes. */
import { createHmac, createSecretKey, hash, randomBytes } from 'node:crypto'

import { remembering } from './cache.ts'

/** Crockford's base 32: no letter that is mistaken for another. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const TIME_CHARACTERS = 10
const RANDOM_CHARACTERS = 16

/**
 * A ULID: 48 bits of time and 80 of chance in 26 characters, so that ids sort by the moment they were made.
 * Source: github.com/ulid/spec.
 */
export function createId(atMs: number): string {
  const time = idsSince(atMs)
  let chance = ''
  if (poolAt + RANDOM_CHARACTERS > POOL_BYTES) {
    pool = randomBytes(POOL_BYTES)
    poolAt = 0
  }
  for (const end = poolAt + RANDOM_CHARACTERS; poolAt < end; poolAt++)
    chance += ALPHABET[(pool[poolAt] ?? 0) % 32] ?? ''
  return time + chance
}

/** Every id that was made at this moment or later is greater, every earlier one is smaller. */
export function idsSince(atMs: number): string {
  let time = ''
  let rest = atMs
  for (let at = 0; at < TIME_CHARACTERS; at++) {
    time = (ALPHABET[rest % 32] ?? '') + time
    rest = Math.floor(rest / 32)
  }
  return time
}

/** To ask the system for 16 bytes costs more than the rest of an id. */
const POOL_BYTES = 4_096
let pool = Buffer.alloc(0)
let poolAt = POOL_BYTES

export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes)
}

/**
 * The same id always has the same pseudonym under one secret, and nobody without the secret can test a guess.
 * 128 bits in 22 characters; `kind` keeps equal ids of different things apart.
 */
export function pseudonym(secret: string, kind: string, id: string): string {
  const digest = createHmac('sha256', keyOf(secret)).update(`${kind}\0${id}`).digest('base64url')
  // Of the last character two bits are ours: to cut a text costs a third of what it costs to cut bytes.
  return digest.slice(0, 21) + (BASE64URL[BASE64URL.indexOf(digest.charAt(21)) & 0b110000] ?? '')
}

const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Those of the epochs of pseudonyms, and a few more. */
const SECRETS_KEPT = 64

const keyOf = remembering(SECRETS_KEPT, (secret) => createSecretKey(secret, 'utf8'))
