/** Loaded before the sidecar (`node --expose-gc --import`): tells what it holds once nothing is left to be collected. */
process.on('message', (message) => {
  if (message !== 'memory') return
  globalThis.gc?.()
  process.send?.(process.memoryUsage())
})
process.channel?.unref()
