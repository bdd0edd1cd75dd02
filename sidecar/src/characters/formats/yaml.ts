/** Cards as YAML: text-generation-webui writes its characters so, with names of its own. */
import { parseDocument } from 'yaml'

import { AppError } from '#base/errors.ts'

import { LIMITS } from '../limits.ts'
import type { CardFormat } from './format.ts'

/** Lines before the first key: comments, directives, the beginning of a document. */
const LEAD = /^\s*(?:#.*|%.*|---\s*)?$/
const KEY = /^["']?[A-Za-z_][\w -]{0,40}["']?\s?:(?:\s|$)/
const OPENING_BYTES = 2_048

export const yaml: CardFormat = {
  sniff(bytes) {
    const opening = Buffer.from(bytes.subarray(0, OPENING_BYTES))
      .toString('utf8')
      .replace(/^\uFEFF/, '')
    return KEY.test(opening.split(/\r?\n/).find((line) => !LEAD.test(line)) ?? '')
  },
  read: (bytes) => ({
    groups: [[{ name: 'file', open: () => toJson(bytes) }]],
    container: 'yaml',
  }),
}

/** The same value as JSON, so that every card goes through the same checks. */
function toJson(bytes: Uint8Array): Buffer {
  if (bytes.length > LIMITS.yamlBytes)
    throw new AppError('too_large', 'The YAML file is larger than 1 MB; save the card as JSON')
  const document = parse(new TextDecoder().decode(bytes))
  const [fault] = document.errors
  if (fault !== undefined) throw damaged(fault)
  try {
    const value: unknown = document.toJS({ maxAliasCount: LIMITS.yamlAliases })
    return Buffer.from(JSON.stringify(value ?? null))
  } catch (cause) {
    throw damaged(cause)
  }
}

/** The parser recurses: a text nested without end overflows it. */
function parse(text: string) {
  try {
    // Its search for repeated keys is quadratic: 30 s for 60,000 of them. The last one counts, as in JSON.
    return parseDocument(text, { schema: 'core', merge: false, uniqueKeys: false, logLevel: 'silent' })
  } catch (cause) {
    throw damaged(cause)
  }
}

const damaged = (cause: unknown) =>
  new AppError('invalid', 'The card is not valid YAML; save it again where it was made', { cause })
