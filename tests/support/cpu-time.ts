/** What work costs of the processor: other programs on the machine make it wait, and that does not count. */
import { readFile } from 'node:fs/promises'

/** What this process has used so far. */
export function cpuNowMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

/** What another process of this machine has used so far, in steps of 10 ms. Source: proc(5), utime and stime in ticks of 1/100 s. */
export async function cpuOfMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${String(pid)}/stat`, 'utf8')
  // Behind the name of the program, which may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Rounds of a comparison at most; the least of each is what the work itself costs. */
const ROUNDS = 4

/** How many times as much the longer work costs; not asked again once it is `enough` or less. */
export async function timesAsMuch(
  short: () => unknown,
  long: () => unknown,
  enough: number,
): Promise<number> {
  const least = { short: Infinity, long: Infinity }
  for (let round = 0; round < ROUNDS && !(least.long / least.short <= enough); round++) {
    least.short = Math.min(least.short, (await cpuTime(short)).cpuMs)
    least.long = Math.min(least.long, (await cpuTime(long)).cpuMs)
  }
  return least.long / least.short
}

/**
 * Of work on one thread. The process counts V8's collecting and compiling threads too, the clock what others make us wait: the
 * thread itself used no more than either.
 */
export async function cpuTime<T>(work: () => T | Promise<T>): Promise<{ value: T; cpuMs: number }> {
  const [before, startedAtMs] = [cpuNowMs(), performance.now()]
  const value = await work()
  return { value, cpuMs: Math.min(cpuNowMs() - before, performance.now() - startedAtMs) }
}
