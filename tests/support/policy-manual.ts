/** One long real text in four formats: the Debian Policy manual, from the Debian package of that name. */
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { gunzipSync } from 'node:zlib'

import { docxOf } from './sample-documents.ts'

const FOLDER = '/usr/share/doc/debian-policy'

export const hasPolicyManual = (): boolean => existsSync(path.join(FOLDER, 'policy.pdf.gz'))

/** By file name. The page of HTML is made of its chapters, the DOCX of its plain text. */
export async function policyManual(): Promise<Record<string, Buffer>> {
  const chapters = path.join(FOLDER, 'policy.html')
  const pages = (await readdir(chapters))
    .filter((name) => /^(?:ch-|ap-|upgrading).*\.html$/.test(name))
    .sort()
  const html = await Promise.all(pages.map((name) => readFile(path.join(chapters, name))))
  const text = gunzipSync(await readFile(path.join(FOLDER, 'policy.txt.gz'))).toString()
  return {
    'policy.pdf': gunzipSync(await readFile(path.join(FOLDER, 'policy.pdf.gz'))),
    'policy.epub': await readFile(path.join(FOLDER, 'policy.epub')),
    'policy.html': Buffer.concat(html),
    'policy.docx': docxOf(wordsOf(text)),
  }
}

/** Underlined lines are headings, empty lines end paragraphs. */
const wordsOf = (text: string): string[] =>
  text
    .replaceAll(/^(.+)\n(?:\*{3,}|={3,}|-{3,})$/gm, '\n# $1\n')
    .split(/\n{2,}/)
    .map((paragraph) => paragraph.replaceAll(/\s+/g, ' ').trim())
    .filter((paragraph) => paragraph !== '')
