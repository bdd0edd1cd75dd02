/** Loaded before the sidecar (`node --expose-gc --import`): tells what the process holds, and ends it with the test. */
import cluster from 'node:cluster'

process.on('message', (message) => {
  if (message === 'resources') process.send?.(process.getActiveResourcesInfo())
  if (message !== 'memory') return
  // The first finds what is garbage; what of it lies outside the heap (V8 frees that beside the program) counts until the second.
  globalThis.gc?.()
  globalThis.gc?.()
  process.send?.(process.memoryUsage())
})
process.channel?.unref()

// A failed test leaves it behind; its workers end with it.
if (cluster.isPrimary) process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'))
