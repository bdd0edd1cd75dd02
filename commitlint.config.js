/** Conventional commits: the changelog and the next version number are read from them. */
export default { extends: ['@commitlint/config-conventional'] }
