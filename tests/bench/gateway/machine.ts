/** What the kernel tells about processes: their CPU time, their memory, and how much others disturbed. Linux; 0 elsewhere. */
import { readdirSync, readFileSync } from 'node:fs'

/** The kernel counts CPU time in hundredths of a second for all programs. */
const TICK_MS = 10

/** The cores that we may run on. */
export function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readOr('/proc/self/status'))?.[1] ?? ''
  return list.split(',').flatMap((range) => {
    const [first = NaN, last = first] = range.split('-').map(Number)
    return Number.isNaN(first) ? [] : Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}

/** The process and all that it started. */
function processTree(pid: number): number[] {
  const threads = listOr(`/proc/${pid}/task`)
  const children = threads.flatMap((thread) =>
    readOr(`/proc/${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(processTree)]
}

/** CPU time of a process tree, in milliseconds. */
export function cpuMsOf(pid: number): number {
  return sum(processTree(pid).map((each) => ticksOf(each) * TICK_MS))
}

/** CPU time of the thread that runs the event loop, in milliseconds. */
export const mainThreadMsOf = (pid: number): number => ticksOf(`${pid}/task/${pid}`) * TICK_MS

function ticksOf(task: number | string): number {
  const stat = readOr(`/proc/${task}/stat`)
  // The name may hold spaces and brackets; the fields begin behind its last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
}

/** Proportional set size of a process tree: shared pages count by their share. */
export function memoryBytesOf(pid: number): number {
  const kilobytes = processTree(pid).map((each) =>
    Number(/^Pss:\s+(\d+) kB/m.exec(readOr(`/proc/${each}/smaps_rollup`))?.[1] ?? 0),
  )
  return sum(kilobytes) * 1_024
}

/** All cores together: time at work for anybody, and time that the hypervisor gave to others. */
export function machineTimesMs(): { busyMs: number; stealMs: number } {
  const first = readOr('/proc/stat').split('\n', 1)[0] ?? ''
  const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0, steal = 0] = first
    .split(/\s+/)
    .slice(1)
    .map(Number)
  return { busyMs: (user + nice + system + irq + softIrq) * TICK_MS, stealMs: steal * TICK_MS }
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0)

function readOr(file: string, otherwise = ''): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    // The process ended meanwhile, or this is no Linux; the caller's figure says so.
    return otherwise
  }
}

function listOr(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    // As above.
    return []
  }
}
