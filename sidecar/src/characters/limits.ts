/** Bounds on what a file may make us do; far above every real card that was counted, far below what hurts. */
export const LIMITS = {
  fileBytes: 64 * 1024 * 1024,
  jsonBytes: 8 * 1024 * 1024,
  /** Recursive walkers overflow near 20,000 levels; cards have about ten. */
  jsonDepth: 64,
  pngChunks: 10_000,
  loreEntries: 5_000,
  keyCharacters: 500,
  textCharacters: 200_000,
  nameCharacters: 200,
} as const
