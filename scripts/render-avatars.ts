/** Renders every `characters/<slug>/avatar.svg` to the `avatar.png` beside it; the same drawing always gives the same pixels. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'

import sharp from 'sharp'

export const AVATAR_PIXELS = 512

export function renderAvatar(svg: Uint8Array): Promise<Buffer> {
  return sharp(svg, { density: 72 })
    .resize(AVATAR_PIXELS, AVATAR_PIXELS)
    .png({ compressionLevel: 9, palette: false })
    .toBuffer()
}

async function main(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true })
  for (const { name } of entries.filter((entry) => entry.isDirectory())) {
    const file = path.join(folder, name, 'avatar.png')
    const before = await readFile(file).catch(() => Buffer.alloc(0))
    const after = await renderAvatar(await readFile(path.join(folder, name, 'avatar.svg')))
    if (!before.equals(after)) await writeFile(file, after)
    console.log(`${before.equals(after) ? 'unchanged' : 'written  '} ${file}`)
  }
}

if (import.meta.url === `file://${process.argv[1] ?? ''}`) await main('characters')
