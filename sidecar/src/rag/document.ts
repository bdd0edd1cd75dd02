/** A document on its way from a file to chunks. */

export interface Block {
  /** `row` is one of a table, `line` one of a list or of code: neither is a sentence, and both keep their line. */
  kind: 'heading' | 'paragraph' | 'line' | 'row'
  text: string
  /** 1 to 6; of headings alone. */
  level?: number
  /** From 1; where the format has pages. */
  page?: number
}

export interface ParsedDocument {
  /** As the document itself says; null when it does not. */
  title: string | null
  blocks: Block[]
}

/** A passage that is found and quoted as one. */
export interface Chunk {
  /** From 0, in the order of the document. */
  ordinal: number
  /** `documentText.slice(charStart, charEnd)`. */
  text: string
  /** Where it stands: title › headings, and the sentence that its paragraph begins with when it begins in the middle. */
  header: string
  headings: string[]
  page: number | null
  /** In UTF-16 code units of the document's text. */
  charStart: number
  charEnd: number
}
