/** Writes docs/openapi.json from the schemas that read the requests. `npm run openapi` after a change of the interface. */
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import { format } from 'prettier'

import { AREAS } from '../sidecar/src/http/areas.ts'
import { describeApi } from '../sidecar/src/http/openapi.ts'

const file = fileURLToPath(new URL('../docs/openapi.json', import.meta.url))
await writeFile(file, await format(JSON.stringify(describeApi(AREAS)), { parser: 'json', printWidth: 110 }))
