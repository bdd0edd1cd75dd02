/** Puts a function file into Open WebUI and switches it on. Doing it again changes nothing, unless the file or a valve did. */
import type { FunctionForm, OpenWebUi } from './client.ts'

export interface FunctionFile {
  /** A Python identifier in lower case. */
  id: string
  /** Python with a front matter. */
  content: string
  /** Settings that we know; others keep what the admin gave them. */
  valves: Readonly<Record<string, string | number | boolean>>
}

export interface Installed {
  action: 'created' | 'updated' | 'unchanged'
}

export async function installFunction(
  file: FunctionFile,
  { functions }: Pick<OpenWebUi, 'functions'>,
): Promise<Installed> {
  const form = toForm(file)
  const stored = await functions.get(file.id)
  const isNew = stored === undefined
  const isOther = stored?.content !== file.content
  if (isNew) await functions.create(form)
  else if (isOther) await functions.update(form)

  const valves = isNew ? {} : await functions.valves(file.id)
  const isSet = Object.entries(file.valves).every(([name, value]) => valves[name] === value)
  if (!isSet) await functions.setValves(file.id, { ...valves, ...file.valves })
  // Last, so that it never runs with half of its settings.
  const isOff = stored?.is_active !== true
  if (isOff) await functions.toggle(file.id)

  return { action: isNew ? 'created' : isOther || isOff || !isSet ? 'updated' : 'unchanged' }
}

function toForm({ id, content }: FunctionFile): FunctionForm {
  return {
    id,
    content,
    name: frontMatter(content, 'title') ?? id,
    description: frontMatter(content, 'description') ?? '',
  }
}

/** The front matter is the docstring on top, one `key: value` in a line. */
function frontMatter(content: string, key: string): string | undefined {
  const [, head = ''] = /^"""\r?\n([\s\S]*?)\r?\n"""/.exec(content) ?? []
  const line = head.split(/\r?\n/).find((text) => text.startsWith(`${key}:`))
  return line?.slice(key.length + 1).trim() || undefined
}
