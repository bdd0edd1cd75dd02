/** Fills a base from a loader that a plugin brings: every document that it gives becomes a file of the base. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { cut, toName } from '#characters/text.ts'

import { GuestDocument } from './guest-document.ts'
import type { Added, Bases, By, Documents } from './knowledge.ts'

/** Gives all documents that it knows, in the shape of LangChain's. */
export type GuestLoader = () => Promise<unknown>

export interface Loading {
  /** Names of the loaders, in the order in which the plugins bring them. */
  readonly names: readonly string[]
  /**
   * A document of the same source replaces the one before; an equal one is skipped. Throws AppError `not_found` for an unknown
   * loader or base, `conflict` for a base in the trash, `unavailable` when the loader fails.
   */
  load(baseId: string, loader: string, by: By): Promise<Added[]>
}

/** Of one run: what is more is not a set of documents for characters. */
const MOST_DOCUMENTS = 10_000
const SOURCE_CHARACTERS = 160

const Loaded = z.array(GuestDocument).max(MOST_DOCUMENTS)

export function createLoading({
  loaders,
  bases,
  documents,
}: {
  loaders: ReadonlyMap<string, GuestLoader>
  bases: Pick<Bases, 'kept'>
  documents: Pick<Documents, 'add'>
}): Loading {
  return {
    names: [...loaders.keys()],
    async load(baseId, name, by) {
      const loader = loaders.get(name)
      if (loader === undefined) throw noLoader(name, [...loaders.keys()])
      // Before it is asked: that may take long, and nothing of it could be kept.
      await bases.kept(baseId)
      const added: Added[] = []
      for (const [at, { pageContent, metadata }] of (await ask(name, loader)).entries()) {
        const source = fileName(metadata?.source ?? metadata?.title ?? String(at + 1))
        const heading =
          metadata?.title === undefined ? '' : `# ${toName(metadata.title, SOURCE_CHARACTERS)}\n\n`
        const bytes = inOnePiece(heading + pageContent)
        added.push(await documents.add(baseId, { name: `${fileName(name)}/${source}.md`, bytes }, by))
      }
      return added
    },
  }
}

async function ask(name: string, loader: GuestLoader): Promise<z.infer<typeof Loaded>> {
  let given: unknown
  try {
    given = await loader()
  } catch (cause) {
    // Its message may quote what it read.
    throw new AppError('unavailable', `The loader "${name}" failed; its plugin must say why`, { cause })
  }
  const loaded = Loaded.safeParse(given)
  if (loaded.success) return loaded.data
  throw new AppError('invalid', `The loader "${name}" gave no list of documents with "pageContent"`)
}

const noLoader = (name: string, names: readonly string[]) =>
  new AppError(
    'not_found',
    names.length === 0
      ? 'No plugin brings a loader; name one in PLUGINS'
      : `There is no loader "${name}"; there are: ${names.join(', ')}`,
  )

/** Sources are addresses and paths: their signs must not become folders of ours. */
const fileName = (source: string): string =>
  cut(
    toName(source.replaceAll(/[\\/:*?"<>|]+/g, '-'), SOURCE_CHARACTERS).replaceAll(/^[.-]+/g, ''),
    SOURCE_CHARACTERS,
  ) || 'document'

async function* inOnePiece(text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(Buffer.from(text))
}
