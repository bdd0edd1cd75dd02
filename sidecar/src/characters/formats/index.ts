/** The card formats by name, in the order in which a file is offered to them: a JPEG may have a whole archive behind it. */
import { charx } from './charx.ts'
import { jpeg, webp } from './exif.ts'
import type { CardFormat } from './format.ts'
import { json } from './json.ts'
import { png } from './png.ts'
import { yaml } from './yaml.ts'

export const formats = { png, charx, jpeg, webp, json, yaml } as const satisfies Readonly<
  Record<string, CardFormat>
>
