/** What a command is. Each topic has a file of them in `commands/`. */
import { AppError } from '#base/errors.ts'

import type { House } from '#backup/format.ts'

import type { AdminApi } from './admin-api.ts'
import type { Screen } from './screen.ts'

export interface LocalHouse extends House {
  /** Undefined: the one that is kept in the data folder. */
  pseudonymSecret: string | undefined
}

export type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

export interface Run {
  positionals: string[]
  values: Values
  /** Opened when it is first asked for: some commands need no sidecar. */
  api: AdminApi
  screen: Screen
  /** The databases and folders of this machine. Throws AppError `invalid` where the command line does not know them. */
  house: () => LocalHouse
  env: NodeJS.ProcessEnv
}

export interface Command {
  /** One or two words. */
  name: string
  usage: string
  summary: string
  details?: string
  options: Record<string, { type: 'string' | 'boolean' }>
  /** Resolves with the exit code. */
  run(run: Run): Promise<number>
}

/** The first word after the command. Throws AppError with what is missing. */
export function required(positionals: readonly string[], missing: string): string {
  const [first] = positionals
  if (first === undefined) throw new AppError('invalid', missing)
  return first
}

/** The given options as a query, without those that were left out. */
export function query(values: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const given = Object.entries(values).filter(([, value]) => value !== undefined)
  return given.length === 0
    ? ''
    : `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString()}`
}

export const textOf = (values: Values, name: string): string | undefined =>
  typeof values[name] === 'string' ? values[name] : undefined

export const characterPath = (id: string, rest = ''): string =>
  `/troupe/api/characters/${encodeURIComponent(id)}${rest}`
