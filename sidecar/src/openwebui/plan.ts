/** What has to change in Open WebUI so that it shows this cast. Pure: two lists in, steps with their reasons out. */
import { PUBLIC_READ, type ModelForm, type ModelRow } from './client.ts'
import { Mark, type DesiredMeta, type DesiredRow } from './rows.ts'

interface About {
  id: string
  /** A sentence for people. */
  reason: string
  /** One line for each field that differs. */
  difference: readonly string[]
}

export type SyncStep =
  | (About & { action: 'create' | 'update'; row: ModelForm })
  | (About & { action: 'delete' | 'conflict' | 'unchanged' })

export interface SyncPlan {
  steps: readonly SyncStep[]
}

/** Longer values are shortened in a difference. */
const SHOWN_CHARS = 60

/**
 * Access is given to new rows only: everybody may read them. Later it belongs to the admin of Open WebUI, who may have
 * restricted it by hand, and so do parameters, whether a row is switched on, and all fields that we do not fill.
 */
export function planSync(desired: readonly DesiredRow[], existing: readonly ModelRow[]): SyncPlan {
  const stored = new Map(existing.map((row) => [row.id, row]))
  const wanted = new Set(desired.map(({ id }) => id))
  const gone = existing.filter((row) => isOurs(row) && !wanted.has(row.id))
  return {
    steps: [
      ...desired.map((row) => planRow(row, stored.get(row.id))),
      ...gone.map(({ id }) => step('delete', id, 'its character is gone')),
    ],
  }
}

/** True for a row that carries our mark. */
export const isOurs = (row: ModelRow): boolean => Mark.safeParse(row.meta.troupe).success

const step = (action: 'delete' | 'conflict' | 'unchanged', id: string, reason: string): SyncStep => ({
  action,
  id,
  reason,
  difference: [],
})

function planRow(desired: DesiredRow, stored: ModelRow | undefined): SyncStep {
  const { id } = desired
  if (stored === undefined) {
    const row = { ...toForm(desired, {}), access_grants: PUBLIC_READ }
    return { action: 'create', id, reason: 'not there yet; everybody may use it', difference: [], row }
  }
  const mark = Mark.safeParse(stored.meta.troupe)
  if (!mark.success) {
    return step(
      'conflict',
      id,
      'Open WebUI has an entry for this model that was not made by Troupe; it is left alone until somebody removes it there',
    )
  }
  if (mark.data.revision === desired.revision) return step('unchanged', id, 'as published')
  const difference = differences(desired, stored)
  const reason =
    difference.length === 0 ? 'changed in Troupe' : `changed: ${difference.map(fieldOf).join(', ')}`
  // Left out, they would be emptied, and with them what an admin has set by hand.
  return { action: 'update', id, reason, difference, row: toForm(desired, stored.params) }
}

function toForm({ id, name, meta, revision }: DesiredRow, params: Record<string, unknown>): ModelForm {
  return { id, name, base_model_id: null, params, meta: { ...meta, troupe: { owner: 'troupe', revision } } }
}

/** Names of the fields as people know them, in the order in which they are told. */
const FIELDS = {
  description: 'description',
  tags: 'tags',
  profile_image_url: 'picture',
  suggestion_prompts: 'greetings',
  capabilities: 'capabilities',
  hidden: 'hidden',
} as const satisfies Record<keyof DesiredMeta, string>

function differences(desired: DesiredRow, stored: ModelRow): string[] {
  const lines = desired.name === stored.name ? [] : [`name: ${show(stored.name)} → ${show(desired.name)}`]
  for (const [key, label] of Object.entries(FIELDS)) {
    const before = stored.meta[key]
    const now = desired.meta[key as keyof typeof FIELDS]
    if (now === undefined || isSame(before, now)) continue
    lines.push(
      label === 'picture'
        ? `picture: ${pictureChange(before, now)}`
        : `${label}: ${show(before)} → ${show(now)}`,
    )
  }
  return lines
}

const fieldOf = (line: string): string => line.slice(0, line.indexOf(':'))

/** Open WebUI gives objects back with their keys in the order in which they came. */
const isSame = (one: unknown, other: unknown): boolean =>
  JSON.stringify(one) === JSON.stringify(other) || (isBlank(one) && isBlank(other))

const isBlank = (value: unknown): boolean =>
  value == null || value === '' || value === false || (Array.isArray(value) && value.length === 0)

function pictureChange(before: unknown, now: unknown): string {
  if (isBlank(before)) return 'new'
  return isBlank(now) ? 'removed' : 'replaced'
}

function show(value: unknown): string {
  const names = Array.isArray(value) ? value.map(nameOf) : []
  const text = names.length > 0 ? names.join(', ') : isBlank(value) ? 'none' : JSON.stringify(value)
  return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text
}

/** What stands for an entry of a list: the name of a tag, the second line of a chip. */
function nameOf(entry: unknown): string {
  if (typeof entry !== 'object' || entry === null) return String(entry)
  if ('name' in entry) return String(entry.name)
  return 'title' in entry && Array.isArray(entry.title) ? String(entry.title.at(-1)) : JSON.stringify(entry)
}
