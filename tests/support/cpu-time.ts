/** What work costs of the processor: other programs on the machine make it wait, and that does not count. */

/** What this process has used so far. */
export function cpuNowMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

export async function cpuTime<T>(work: () => T | Promise<T>): Promise<{ value: T; cpuMs: number }> {
  const before = cpuNowMs()
  const value = await work()
  return { value, cpuMs: cpuNowMs() - before }
}
