/** A document as LangChain shapes it: what plugins bring. Other fields are of no use to us. */
import { z } from 'zod'

const told = z.string().optional().catch(undefined)

export const GuestDocument = z.object({
  pageContent: z.string(),
  metadata: z.looseObject({ source: told, title: told }).optional().catch(undefined),
})
