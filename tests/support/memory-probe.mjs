/** Loaded before the sidecar (`node --expose-gc --import`): tells what the process holds, in memory and of the system. */
process.on('message', (message) => {
  if (message === 'resources') process.send?.(process.getActiveResourcesInfo())
  if (message !== 'memory') return
  // Once nothing is left to be collected.
  globalThis.gc?.()
  process.send?.(process.memoryUsage())
})
process.channel?.unref()
