// Runs before the first paint, so that a chosen theme never flashes. A file of its own, since the policy allows no inline script.
;(() => {
  let chosen = null
  try {
    chosen = localStorage.getItem('troupe.theme')
  } catch {
    // Storage is blocked: the system's theme is used.
  }
  const isDark = chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches
  document.documentElement.dataset.theme = isDark ? 'dark' : 'light'
})()
