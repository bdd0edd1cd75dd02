/**
 * A plugin that lets characters look things up with LangChain JS: a retriever and a document loader.
 *
 *   npm install @langchain/core          beside this file
 *   PLUGINS=./langchain-plugin.mjs       in the environment of the sidecar
 *
 * A character looks into the retriever once its card names it: "extensions": { "troupe": { "sources": ["harbour"] } }.
 * The loader fills a knowledge base: npm run troupe -- knowledge load BASE logbook
 */
import { BaseDocumentLoader } from '@langchain/core/document_loaders/base'
import { Document } from '@langchain/core/documents'
import { BaseRetriever } from '@langchain/core/retrievers'

const LOG = [
  new Document({
    pageContent: 'On 3 March the lamp was lit at four, for the fog came in early.',
    metadata: { source: 'log-03-03', title: 'Log of 3 March' },
  }),
  new Document({
    pageContent: 'On 4 March a schooner lay at anchor behind the reef until noon.',
    metadata: { source: 'log-03-04', title: 'Log of 4 March' },
  }),
]

/** Stands for any retriever of LangChain: a vector store's `asRetriever()`, a search service … */
class HarbourRetriever extends BaseRetriever {
  lc_namespace = ['harbour']

  async _getRelevantDocuments(question) {
    const words = new Set(question.toLowerCase().match(/\p{L}{4,}/gu) ?? [])
    return LOG.filter(({ pageContent }) =>
      pageContent
        .toLowerCase()
        .match(/\p{L}{4,}/gu)
        .some((word) => words.has(word)),
    )
  }
}

/** Stands for any loader of LangChain: a web site, a wiki, a folder … */
class LogbookLoader extends BaseDocumentLoader {
  async load() {
    return LOG
  }
}

export const retrievers = { harbour: new HarbourRetriever() }
export const loaders = { logbook: new LogbookLoader() }
