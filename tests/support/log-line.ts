/** The line that every request leaves, as programs may count on it; nothing else may stand in it. */
import { z } from 'zod'

const ulid = z.string().regex(/^[0-9A-HJKMNP-TV-Z]{26}$/)
const count = z.number().int().min(0)

export const RequestLine = z.strictObject({
  level: z.literal('info'),
  at: z.iso.datetime(),
  msg: z.literal('request'),
  requestId: ulid,
  method: z.string().regex(/^[A-Z-]{3,20}$/),
  /** The pattern of a route, with `:name` for what varies. */
  route: z.string().regex(/^(?:none|\/[\w/:.*{}^$+@[\]\\-]*)$/),
  status: z.number().int().min(100).max(599),
  ms: count,
  bytesIn: count,
  bytesOut: count,
  keyId: z.string().optional(),
  /** Pseudonym. */
  person: z.string().length(22).nullish(),
  character: z.string().nullish(),
  baseModel: z.string().nullish(),
  task: z.string().nullish(),
  errorCode: z.string().optional(),
})
