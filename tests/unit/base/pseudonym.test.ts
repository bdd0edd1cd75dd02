import { createHmac } from 'node:crypto'

import fc from 'fast-check'
import { expect, test } from 'vitest'

import { pseudonym } from '#base/ids.ts'

test('a pseudonym is the first 128 bits of the HMAC of kind and id', () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom('person', 'chat'), fc.string(), (secret, kind, id) => {
      const whole = createHmac('sha256', secret).update(`${kind}\0${id}`).digest()
      expect(pseudonym(secret, kind, id)).toBe(whole.subarray(0, 16).toString('base64url'))
    }),
  )
})
