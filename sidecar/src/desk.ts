/** The desk for the Open WebUI beside us: joins sync, feedback and functions to the library and the records. */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Recorder } from '#analytics/recorder.ts'
import { findMessage } from '#analytics/queries.ts'
import { AppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import { settingsOf } from '#characters/settings.ts'
import { takesPictures } from '#chat/known-model.ts'
import { TASK_MODEL_ID } from '#chat/tasks.ts'
import type { Keys } from '#gateway/keys.ts'
import type { RouteParts } from '#http/routes.ts'
import type { Kv } from '#kv/kv.ts'
import { withLease } from '#kv/lease.ts'
import type { Library } from '#library/library.ts'
import { readCast } from '#openwebui/cast.ts'
import { openOpenWebUi } from '#openwebui/client.ts'
import { createFeedback } from '#openwebui/feedback.ts'
import { installFunction } from '#openwebui/install-functions.ts'
import { createSync } from '#openwebui/sync.ts'
import { onceADay } from '#privacy/daily.ts'
import type { Privacy } from '#privacy/privacy.ts'
import type { Upstreams } from '#providers/upstreams.ts'
import type { Store } from '#store/store.ts'

import type { Config } from './config.ts'

/** Name of the keys that our function in Open WebUI holds; an older one is ended when a new one is handed out. */
const EVENTS_KEY_NAME = 'Open WebUI events'

/** An Open WebUI that hangs must not keep us from stopping; what was not said is said at the next start. */
const CLOSE_MS = 3_000

/** Somebody waits, and a run tells of groups that there are not in any case. */
const GROUPS_MS = 2_000

export interface DeskParts {
  config: Config
  library: Library
  upstreams: Pick<Upstreams, 'find'>
  keys: Keys
  recorder: Pick<Recorder, 'addRating' | 'deleteRating'>
  kv: Kv
  privacy: Pick<Privacy, 'pseudonyms' | 'erase' | 'eraseChat' | 'reconcile'>
  characters: Store
  analytics: Store
  log: Log
  now: () => number
}

export type Desk = NonNullable<RouteParts['openWebUi']> & { close(): Promise<void> }

/** Undefined without an Open WebUI and an admin's key there. Publishes every change of the library by itself. */
export function openDesk({
  config,
  library,
  upstreams,
  keys,
  recorder,
  kv,
  privacy,
  characters,
  analytics,
  log,
  now,
}: DeskParts): Desk | undefined {
  const { url, apiKey } = config.openWebUi ?? {}
  if (url === undefined || apiKey === undefined) return undefined
  const client = openOpenWebUi({ url, apiKey })
  const sync = createSync({
    client,
    characters: () =>
      readCast({ library, takesPictures: (card) => takesPictures(settingsOf(card).model, upstreams) }),
    taskModelId: TASK_MODEL_ID,
    log,
    alone: (work) => withLease(kv, 'sync to Open WebUI', work),
  })
  const feedback = createFeedback({
    client,
    // The answer may be older than the pseudonyms of today.
    saveRating: async ({ id, messageId, value, atMs }) => {
      const [newest = '', ...older] = privacy.pseudonyms.all('message', messageId)
      const message =
        older.length === 0 ? newest : ((await findMessage(analytics, [newest, ...older])) ?? newest)
      await recorder.addRating({ id, message, value, atMs })
    },
    deleteRating: (id) => recorder.deleteRating(id),
    log,
  })
  const unsubscribe = library.onChange(() => {
    sync.schedule()
  })
  const reconcile = async (options: { force: boolean }) =>
    privacy.reconcile(await client.listUserIds(), options)
  /** Whoever holds the key of our function could name anybody; Open WebUI tells of a deletion when it is done. */
  const eraseIfGone = async (id: string) => {
    if ((await client.listUserIds()).has(id))
      throw new AppError('conflict', 'This person is in Open WebUI still, so nothing was erased')
    await privacy.erase(id, 'Open WebUI')
  }
  // Events of Open WebUI are sent once and may get lost.
  const comparing = onceADay({
    ...{ name: 'comparison with the people of Open WebUI', store: characters, kv, log, now },
    work: () => reconcile({ force: false }),
  })
  // What changed while we were down is published now.
  sync.schedule()

  return {
    sync: (options) => sync.run(options),
    async missingGroups(names) {
      if (names.length === 0) return []
      const late = sleep(GROUPS_MS, undefined, { ref: false })
      const groups = await Promise.race([client.listGroups(), late]).catch(() => undefined)
      return groups === undefined ? [] : names.filter((name) => groups.every((group) => group.name !== name))
    },
    async installFunction(id, content) {
      const older = (await keys.list()).filter(
        (key) => key.name === EVENTS_KEY_NAME && key.revokedAtMs === null,
      )
      const { secret } = await keys.create({ name: EVENTS_KEY_NAME, scopes: ['events'], expiresAtMs: null })
      const installed = await installFunction(
        { id, content, valves: { sidecar_url: config.publicUrl, key: secret } },
        client,
      )
      for (const key of older) await keys.revoke(key.id)
      return installed
    },
    async event({ name, id }) {
      // Answered only when it is known for good: Open WebUI tells each of these once.
      if (name === 'user.deleted') await eraseIfGone(id)
      else if (name === 'chat.deleted') await privacy.eraseChat(id)
      else feedback.event({ name, id })
    },
    reconcile,
    async close() {
      unsubscribe()
      const finished = Promise.all([comparing.stop(), sync.close(), feedback.close()])
      await Promise.race([finished, sleep(CLOSE_MS, undefined, { ref: false })])
      await client.close()
    },
  }
}
