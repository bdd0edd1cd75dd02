import { call, json } from './calling.ts'
import { fields, list, text } from './reading.ts'

/** Names of the documents in all knowledge bases, by their ids. */
export async function readDocumentNames(): Promise<Map<string, string>> {
  const { bases } = fields(await json(await call('/knowledge/bases')))
  const documents = await Promise.all(list(bases).map((base) => documentsOf(text(fields(base)['id']))))
  return new Map(documents.flat())
}

async function documentsOf(baseId: string): Promise<[string, string][]> {
  const path = `/knowledge/bases/${encodeURIComponent(baseId)}/documents`
  const { documents } = fields(await json(await call(path)))
  return list(documents).map((document) => {
    const { id, name } = fields(document)
    return [text(id), text(name) || text(id)]
  })
}
