/** Keeps Open WebUI showing our cast: a character that is published, changed or deleted here is so there. */
import { toAppError, type AppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'

import { after as realAfter, type After } from '#base/after.ts'
import type { AccessGrant, ModelForm, ModelRow, OpenWebUi } from './client.ts'
import { planSync, type SyncPlan, type SyncStep } from './plan.ts'
import { characterRow, taskRow, type SyncCharacter } from './rows.ts'

export interface SyncChange {
  id: string
  /**
   * `conflict`: somebody else's entry, left alone. `failed`: Open WebUI refused it. `incomplete`: stored, but not all of it.
   * `drift`: ours, changed by hand there, left alone.
   * The others say what was done, or would be.
   */
  action: 'create' | 'update' | 'delete' | 'conflict' | 'drift' | 'failed' | 'incomplete'
  reason: string
  difference: readonly string[]
}

/** Nothing in it when Open WebUI shows exactly this cast. */
export interface SyncReport {
  changes: SyncChange[]
}

type SyncClient = Pick<
  OpenWebUi,
  | 'listBaseModels'
  | 'listGroups'
  | 'getModel'
  | 'importModels'
  | 'setAccess'
  | 'deleteModel'
  | 'refreshModels'
>

export interface SyncParts {
  client: SyncClient
  /** All published characters, as they are now. */
  characters: () => Promise<readonly SyncCharacter[]>
  /** Id of the hidden model that answers Open WebUI's tasks. */
  taskModelId: string
  log: Log
  /** Keeps the runs of other processes away while one of ours runs. */
  alone?: <T>(work: () => Promise<T>) => Promise<T>
  after?: After
}

export interface RunOptions {
  dryRun: boolean
  /** Writes over what was changed by hand there. */
  force?: boolean
}

export interface Sync {
  /** Does it now, after any that is going on. A dry run only says what it would do. Throws AppError. */
  run(options: RunOptions): Promise<SyncReport>
  /** Does it soon, in the background, and again until Open WebUI has answered. */
  schedule(): void
  /** Forgets what is scheduled and waits for what is going on. */
  close(): Promise<void>
}

/** An import of many files is many changes; they become one run. */
const DEBOUNCE_MS = 300

const FIRST_RETRY_MS = 1_000
const LONGEST_RETRY_MS = 60_000

/** Refusals that the next row need not share. */
const ROW_REFUSED = new Set([400, 422, 500])

const LEFT_ALONE = new Set<SyncChange['action']>(['conflict', 'drift'])

const NEEDS_SOMEBODY = new Set<SyncChange['action']>(['conflict', 'failed', 'incomplete'])

export function createSync({
  client,
  characters,
  taskModelId,
  log,
  alone = (work) => work(),
  after = realAfter,
}: SyncParts): Sync {
  let turn: Promise<unknown> = Promise.resolve()
  let cancel = (): void => undefined
  let isClosed = false

  /** Two runs at once would both find the same rows missing. */
  function run({ dryRun, force = false }: RunOptions): Promise<SyncReport> {
    const next = turn.then(() =>
      alone(async () => {
        const rows = [...(await characters()).map(characterRow), taskRow(taskModelId)]
        const groups = rows.some((row) => row.groups !== null) ? await client.listGroups() : []
        const plan = planSync(rows, await client.listBaseModels(), { groups, force })
        return { changes: dryRun ? plan.steps.flatMap(toChange) : await applySync(plan, client) }
      }),
    )
    turn = next.catch(() => undefined)
    return next
  }

  function plan(waitMs: number, retryMs: number): void {
    cancel()
    if (isClosed) return
    cancel = after(waitMs, () => {
      run({ dryRun: false }).then(tell, (thrown: unknown) => {
        const error = toAppError(thrown)
        if (!isTemporary(error)) {
          log.error({ code: error.code, error }, 'Open WebUI could not be brought up to date')
          return
        }
        const server = String(error.facts['server'] ?? 'A server')
        log.warn(
          { code: error.code, server, retryMs },
          `${server} does not answer; the cast in Open WebUI is brought up to date later`,
        )
        plan(retryMs, Math.min(retryMs * 2, LONGEST_RETRY_MS))
      })
    })
  }

  function tell({ changes }: SyncReport): void {
    for (const { id, action } of changes) {
      // Told whoever asks for a sync; in the log it would come again with every change of any character.
      if (action === 'drift') continue
      if (NEEDS_SOMEBODY.has(action))
        log.warn({ character: id, action }, 'Open WebUI does not show it as published')
      else log.info({ character: id, action }, 'Open WebUI brought up to date')
    }
  }

  return {
    run,
    schedule: () => plan(DEBOUNCE_MS, FIRST_RETRY_MS),
    async close() {
      isClosed = true
      cancel()
      await turn
    },
  }
}

/**
 * Does what the plan says and answers what became of it; one row that is refused does not stop the others. Throws AppError
 * when Open WebUI does not answer: what is done then stays done, and the next plan is for the rest.
 */
async function applySync(plan: SyncPlan, client: SyncClient): Promise<SyncChange[]> {
  const changes: SyncChange[] = []
  for (const step of plan.steps) changes.push(...(await applyStep(step, client)))
  if (changes.some(({ action }) => !LEFT_ALONE.has(action))) await client.refreshModels()
  return changes
}

async function applyStep(step: SyncStep, client: SyncClient): Promise<SyncChange[]> {
  const { id } = step
  try {
    if (step.action === 'delete') await client.deleteModel(id)
    if (step.action !== 'create' && step.action !== 'update') return toChange(step)
    const stored = step.row && (await writeRow(step.row, client))
    if (step.row && stored === undefined)
      return [outcome('failed', id, 'Open WebUI skipped it without saying why')]
    const grants = step.action === 'create' ? step.row.access_grants : step.grants
    if (grants !== undefined && !(step.action === 'create' && stored && hasGrants(stored, grants)))
      await client.setAccess(id, grants)
    return [...toChange(step), ...(step.row && stored ? lostPicture(step.row, stored) : [])]
  } catch (thrown) {
    const error = toAppError(thrown)
    if (error.code !== 'upstream' || !ROW_REFUSED.has(Number(error.facts.status))) throw thrown
    return [outcome('failed', id, error.message)]
  }
}

/** One row in each call: a call with a bad row ends there, and says nothing of those that it has already stored. */
async function writeRow(row: ModelForm, client: SyncClient): Promise<ModelRow | undefined> {
  await client.importModels([row])
  return client.getModel(row.id)
}

function toChange(step: SyncStep): SyncChange[] {
  if (step.action === 'unchanged') return []
  const { id, action, reason, difference } = step
  return [{ id, action, reason, difference }]
}

const outcome = (action: 'failed' | 'incomplete', id: string, reason: string): SyncChange => ({
  id,
  action,
  reason,
  difference: [],
})

/** Open WebUI answers "true" also when it has thrown the picture away. */
function lostPicture({ id, meta }: ModelForm, stored: ModelRow): SyncChange[] {
  if (meta.profile_image_url === '' || stored.meta.profile_image_url === meta.profile_image_url) return []
  const reason = 'Open WebUI did not keep the picture; it may be above PROFILE_IMAGE_MAX_DATA_URI_SIZE there'
  return [outcome('incomplete', id, reason)]
}

const hasGrants = (row: ModelRow, grants: readonly AccessGrant[]): boolean =>
  grants.every((grant) =>
    row.access_grants.some(
      (other) =>
        other.principal_type === grant.principal_type &&
        other.principal_id === grant.principal_id &&
        other.permission === grant.permission,
    ),
  )

const isTemporary = ({ code }: AppError): boolean => code === 'unavailable' || code === 'upstream_timeout'
