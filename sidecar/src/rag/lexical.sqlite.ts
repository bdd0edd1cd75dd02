/** Words in an SQLite file beside the database: what `lexical-worker.mjs` does, asked from here. */
import { createThread } from '#base/thread.ts'

import { HITS_WITH_WORDS, NOTHING_FOUND, type LexicalIndex, type LexicalResult } from './lexical.ts'
import { scopeWord } from './scope.ts'

/** `:memory:` for tests. The caller closes it. */
export function openSqliteLexicalIndex(file: string): LexicalIndex {
  const thread = createThread(
    new URL('./lexical-worker.mjs', import.meta.url),
    { file },
    'The index of words',
  )
  const tell = async (method: string, argument: unknown) => {
    await thread.call(method, argument)
  }
  return {
    kind: 'sqlite',
    put: (scope, entries) => tell('put', { scope: scopeWord(scope), entries }),
    removeDocument: (documentId) => tell('removeDocument', documentId),
    removeScope: (scope) => tell('removeScope', scopeWord(scope)),
    async search({ scopes, words, limit }) {
      if (scopes.length === 0 || words.length === 0) return NOTHING_FOUND
      const argument = { scopes: scopes.map(scopeWord), words, limit, withWords: HITS_WITH_WORDS }
      return (await thread.call('search', argument)) as LexicalResult
    },
    count: async (scope) => Number(await thread.call('count', scopeWord(scope))),
    ping: () => thread.ping(),
    close: () => thread.close(),
  }
}
