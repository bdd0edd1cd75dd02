/** What has to change in Open WebUI so that it shows this cast. Pure: two lists in, steps with their reasons out. */
import { PUBLIC_READ, type AccessGrant, type Group, type ModelForm, type ModelRow } from './client.ts'
import { Mark, type DesiredMeta, type DesiredRow } from './rows.ts'

interface About {
  id: string
  /** A sentence for people. */
  reason: string
  /** One line for each field that differs. */
  difference: readonly string[]
}

export type SyncStep =
  | (About & { action: 'create'; row: ModelForm })
  /** Without `row` only who may see it changes, without `grants` that does not. */
  | (About & { action: 'update'; row?: ModelForm; grants?: readonly AccessGrant[] })
  | (About & { action: 'delete' | 'conflict' | 'unchanged' | 'drift' | 'incomplete' })

export interface SyncPlan {
  steps: readonly SyncStep[]
}

export interface PlanOptions {
  /** The groups of Open WebUI. */
  groups?: readonly Group[]
  /** Writes over what an admin changed by hand in a row of ours. */
  force?: boolean
}

/** Longer values are shortened in a difference. */
const SHOWN_CHARS = 60

/**
 * A new row is open to everybody, or to the groups of its character. Without groups access later belongs to the admin of
 * Open WebUI, who may have restricted it by hand; so do parameters, whether a row is switched on, and all fields that we
 * do not fill. What an admin changed in the fields that we do fill is told, and left until the character changes.
 */
export function planSync(
  desired: readonly DesiredRow[],
  existing: readonly ModelRow[],
  { groups = [], force = false }: PlanOptions = {},
): SyncPlan {
  const stored = new Map(existing.map((row) => [row.id, row]))
  const wanted = new Set(desired.map(({ id }) => id))
  const gone = existing.filter((row) => isOurs(row) && !wanted.has(row.id))
  const ids = new Map(groups.map(({ name, id }) => [name, id]))
  return {
    steps: [
      ...desired.flatMap((row) => [planRow(row, stored.get(row.id), ids, force), ...missingGroups(row, ids)]),
      ...gone.map(({ id }) => step('delete', id, 'its character is gone')),
    ],
  }
}

/** True for a row that carries our mark. */
export const isOurs = (row: ModelRow): boolean => Mark.safeParse(row.meta.troupe).success

const step = (
  action: 'delete' | 'conflict' | 'unchanged' | 'drift' | 'incomplete',
  id: string,
  reason: string,
  difference: readonly string[] = [],
): SyncStep => ({ action, id, reason, difference })

type GroupIds = ReadonlyMap<string, string>

function planRow(desired: DesiredRow, stored: ModelRow | undefined, ids: GroupIds, force: boolean): SyncStep {
  const { id } = desired
  if (stored === undefined) {
    const grants = grantsFor(desired, ids)
    const row = { ...toForm(desired, {}), access_grants: grants ?? PUBLIC_READ }
    const who =
      desired.groups === null ? 'everybody may use it' : `for ${desired.groups.join(', ') || 'nobody'}`
    return { action: 'create', id, reason: `not there yet; ${who}`, difference: [], row }
  }
  const mark = Mark.safeParse(stored.meta.troupe)
  if (!mark.success) {
    return step(
      'conflict',
      id,
      'Open WebUI has an entry for this model that was not made by Troupe; it is left alone until somebody removes it there',
    )
  }
  const { revision, grants: managed } = mark.data
  const difference = differences(desired, stored)
  const isPublished = revision === desired.revision && (managed === 'groups') === (desired.groups !== null)
  // Groups that were taken away here give the character back to everybody.
  const wanted = grantsFor(desired, ids) ?? (managed === 'groups' ? PUBLIC_READ : undefined)
  const grants = wanted !== undefined && !areSameGrants(wanted, stored.access_grants) ? wanted : undefined
  if (isPublished && grants === undefined && (difference.length === 0 || !force)) {
    if (difference.length === 0) return step('unchanged', id, 'as published')
    return step('drift', id, 'changed by hand in Open WebUI since it was published', difference)
  }
  const lines = [...difference, ...(grants === undefined ? [] : [`access: ${accessOf(desired)}`])]
  const reason = lines.length === 0 ? 'changed in Troupe' : `changed: ${lines.map(fieldOf).join(', ')}`
  return {
    ...{ action: 'update', id, reason, difference: lines },
    // Left out, they would be emptied, and with them what an admin has set by hand.
    ...(isPublished && difference.length === 0 ? {} : { row: toForm(desired, stored.params) }),
    ...(grants && { grants }),
  }
}

const accessOf = ({ groups }: DesiredRow): string =>
  groups === null ? 'everybody' : groups.join(', ') || 'nobody'

function grantsFor({ groups }: DesiredRow, ids: GroupIds): AccessGrant[] | undefined {
  return groups?.flatMap((name) => {
    const id = ids.get(name)
    return id === undefined ? [] : [{ principal_type: 'group', principal_id: id, permission: 'read' }]
  })
}

function missingGroups({ id, groups }: DesiredRow, ids: GroupIds): SyncStep[] {
  const missing = (groups ?? []).filter((name) => !ids.has(name))
  if (missing.length === 0) return []
  return [
    step(
      'incomplete',
      id,
      `Open WebUI has no group ${missing.join(', ')}; make it there, or take it out here`,
    ),
  ]
}

const grantKey = ({ principal_type: type, principal_id: id, permission }: AccessGrant) =>
  `${type} ${id} ${permission}`

const areSameGrants = (one: readonly AccessGrant[], other: readonly AccessGrant[]): boolean =>
  JSON.stringify(one.map(grantKey).sort()) === JSON.stringify(other.map(grantKey).sort())

function toForm(
  { id, name, meta, groups, revision }: DesiredRow,
  params: Record<string, unknown>,
): ModelForm {
  const mark = { owner: 'troupe', revision, ...(groups === null ? {} : { grants: 'groups' }) }
  return { id, name, base_model_id: null, params, meta: { ...meta, troupe: mark } }
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
