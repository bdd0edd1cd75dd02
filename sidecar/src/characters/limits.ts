/** Bounds on what a file may make us do; far above every real card that was counted, far below what hurts. */
export const LIMITS = {
  /** Pictures of cards reach 30 MB; twice that is still one buffer that a small server can hold. */
  fileBytes: 64 * 1024 * 1024,
  /** Several long novels, or some pictures in data URLs; parsing more would hold up every chat. */
  jsonBytes: 8 * 1024 * 1024,
  /** Recursive walkers overflow near 20,000 levels; cards have about ten. */
  jsonDepth: 64,
  /** The common encoder cuts pixels into pieces of 8 KB, so that even the largest file has fewer. */
  pngChunks: 10_000,
  /** The keyword of a text chunk, as the PNG specification bounds it. */
  pngKeywordBytes: 79,
  /** Base64 makes 4 bytes of 3, and some break it into lines. */
  pngTextBytes: 16 * 1024 * 1024,
  /** Editors that append instead of replace leave two or three; each one tried costs a whole parse. */
  cardsPerKeyword: 4,
  /** The parser takes about a second for it, and ordinary cards are a hundredth. */
  yamlBytes: 1024 * 1024,
  /** References to what was written before; a few lines of them can stand for gigabytes. */
  yamlAliases: 100,
  /** Cards with some hundred emotions exist. */
  zipEntries: 2_000,
  /** One picture; the largest seen have half of it. */
  zipFileBytes: 32 * 1024 * 1024,
  /** All files that a CHARX takes over from an uploaded one: cards of several hundred pictures have a third of it. */
  charxUnpackedBytes: 512 * 1024 * 1024,
  /** Each entry is a paragraph; what needs more of them is knowledge, not lore. */
  loreEntries: 5_000,
  /** Greetings, tags, sources, assets, keys of an entry. */
  listItems: 2_000,
  /** A key is a word or a pattern; longer ones only cost time at each turn. */
  keyCharacters: 500,
  /** About 50,000 tokens: no model reads a field of this size. */
  textCharacters: 200_000,
  /** Names stand in pickers and many times in every prompt. */
  nameCharacters: 200,
  /** Kinds of notes on one file; a person reads the first few. */
  notes: 100,
} as const
