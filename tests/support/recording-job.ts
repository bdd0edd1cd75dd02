/** What `recording-child.ts` is told, and how it names what it records. */
export interface RecordingJob {
  url: string
  /** Where records wait for a database that is away; a file needs none. */
  outboxDir: string | undefined
  /** Numbers of the records: [from, to). */
  from: number
  to: number
  /** Answers that end at the same time. */
  atOnce: number
}

export const DIGITS = 9

export const numbered = (number: number): string => String(number).padStart(DIGITS, '0')
