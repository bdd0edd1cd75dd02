/** The card formats by name, in the order in which a file is offered to them. */
import type { CardFormat } from './format.ts'
import { json } from './json.ts'
import { png } from './png.ts'

export const formats = { png, json } as const satisfies Readonly<Record<string, CardFormat>>
