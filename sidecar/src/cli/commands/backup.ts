/** Backup and restore. These work on the databases themselves: a backup beside a running sidecar, a restore without one. */
import { mkdir, readFile } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import { createLog } from '#base/log.ts'
import { makeBackup, rotateBackups } from '#backup/backup.ts'
import { copyErasures } from '#backup/erasures-file.ts'
import type { BackupKey } from '#backup/format.ts'
import { restoreBackup } from '#backup/restore.ts'
import { replayErasures } from '#privacy/erasure.ts'
import { checkSecret } from '#privacy/pseudonyms.ts'
import { openStore } from '#store/open.ts'

import { required, textOf, type Command, type LocalHouse, type Run } from '../command.ts'
import { keptPseudonymSecret } from '../kept-secrets.ts'
import { restoreCharacter } from './characters.ts'

const KEY_OPTIONS = { 'passphrase-file': { type: 'string' } } as const

/** Of a file the first line, so that an editor's line break is no part of it. */
async function secretIn(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AppError('invalid', `${file} cannot be read`, { cause })
  })
  const line =
    text
      .split('\n')
      .find((part) => part.trim() !== '' && !part.startsWith('#'))
      ?.trim() ?? ''
  if (line.length < 12) throw new AppError('invalid', `${file} holds no passphrase of at least 12 characters`)
  return line
}

async function keyOf({ values, env }: Run): Promise<BackupKey> {
  const recipient = textOf(values, 'recipient')
  if (recipient !== undefined) return { recipient }
  const identityFile = textOf(values, 'identity-file')
  if (identityFile !== undefined) return { identity: await secretIn(identityFile) }
  const file = textOf(values, 'passphrase-file') ?? env['TROUPE_BACKUP_PASSPHRASE_FILE']
  if (file === undefined)
    throw new AppError(
      'invalid',
      'A backup is always encrypted: give --passphrase-file (or TROUPE_BACKUP_PASSPHRASE_FILE), or a key of age',
    )
  return { passphrase: await secretIn(file) }
}

async function backup(run: Run): Promise<number> {
  const { positionals, values, screen } = run
  const where = required(positionals, 'Name a file that ends in .age, or a folder')
  const isFile = where.endsWith('.age')
  const keep = countToKeep(textOf(values, 'keep'), isFile)
  const house = run.house()
  const stamp = new Date()
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replaceAll(':', '-')
  const file = isFile ? where : path.join(where, `troupe-${stamp}.age`)
  const startedAtMs = performance.now()
  const key = await keyOf(run)
  await mkdir(path.dirname(file), { recursive: true })
  const summary = await makeBackup(house, file, key)
  // Older ones may have what this one lacks.
  const deleted = keep === undefined || summary.missing > 0 ? [] : await rotateBackups(where, keep)
  await copyErasures(house.dataDir, path.dirname(file))
  const rows = Object.values(summary.tables).reduce((sum, table) => sum + table.rows, 0)
  const seconds = Number(((performance.now() - startedAtMs) / 1_000).toFixed(1))
  screen.line(`Wrote ${file}: ${String(rows)} rows, ${String(summary.files)} files, ${String(seconds)} s`)
  for (const name of deleted) screen.line(`Deleted ${name}`)
  const { files, missing } = summary
  if (missing > 0)
    screen.line(
      `Files that the databases name and that it lacks, since they are not in ${house.dataDir}: ${String(missing)}. ` +
        'Where several sidecars have data folders of their own, let them share one (docs/operations.md); others were lost',
    )
  if (missing > 0 && keep !== undefined)
    screen.line('No older backup was deleted, since this one is not whole')
  screen.result({ file, rows, files, missing, seconds, deleted })
  return missing > 0 ? 1 : 0
}

/** Before anything is written: what is not kept is deleted. */
function countToKeep(keep: string | undefined, isFile: boolean): number | undefined {
  if (keep === undefined) return undefined
  if (!/^[1-9]\d*$/.test(keep))
    throw new AppError('invalid', `--keep is a number of backups from 1 on, not "${keep}"`)
  if (isFile) throw new AppError('invalid', '--keep needs a folder of backups, not a file')
  return Number(keep)
}

async function restore(run: Run): Promise<number> {
  const { positionals, values, screen } = run
  const file = required(positionals, 'Name the backup')
  const house = run.house()
  const startedAtMs = performance.now()
  const summary = await restoreBackup(file, house, await keyOf(run), {
    force: values['force'] === true,
    check: ({ secret, epochs }) =>
      checkSecret(
        house.pseudonymSecret ?? secret ?? keptPseudonymSecret(house.dataDir),
        epochs.map((row) => (typeof row['secret_check'] === 'string' ? row['secret_check'] : null)),
      ),
  })
  const erasedAgain = await replay(house)
  const rows = Object.values(summary.tables).reduce((sum, table) => sum + table.rows, 0)
  const seconds = Number(((performance.now() - startedAtMs) / 1_000).toFixed(1))
  screen.line(
    `Restored ${String(rows)} rows and ${String(summary.files)} files of ${summary.madeAt} in ${String(seconds)} s`,
  )
  if (erasedAgain > 0)
    screen.line(`${String(erasedAgain)} people and chats that were erased since then were erased again`)
  screen.result({ rows, files: summary.files, madeAt: summary.madeAt, seconds, erasedAgain })
  return 0
}

async function replay(house: LocalHouse): Promise<number> {
  const secret = house.pseudonymSecret ?? keptPseudonymSecret(house.dataDir)
  if (secret === undefined) return 0
  const [characters, analytics] = [
    await openStore(house.databaseUrl, { setting: 'DATABASE_URL' }),
    await openStore(house.analyticsDatabaseUrl, { setting: 'ANALYTICS_DATABASE_URL' }),
  ]
  try {
    const on = { secret, dataDir: house.dataDir, log: createLog('silent'), now: Date.now }
    return await replayErasures({ characters, analytics }, on)
  } finally {
    await Promise.all([characters.close(), analytics.close()])
  }
}

export const backupCommands: readonly Command[] = [
  {
    name: 'backup',
    usage: 'backup FILE.age|FOLDER [--passphrase-file FILE | --recipient age1…] [--keep N]',
    summary: 'both databases, pictures and originals in one encrypted file, beside a running sidecar',
    details:
      '\nUses the same settings as the sidecar (DATABASE_URL, ANALYTICS_DATABASE_URL, TROUPE_DATA_DIR). A folder gets a file with the\ntime in its name; --keep deletes the oldest, unless the\nnew one lacks files. The file is in the age format around a zip archive: age -d FILE > backup.zip\n',
    options: { ...KEY_OPTIONS, recipient: { type: 'string' }, keep: { type: 'string' } },
    run: backup,
  },
  {
    name: 'restore',
    usage: 'restore ID|FILE.age [--passphrase-file FILE | --identity-file FILE] [--force]',
    summary: 'takes a character out of the trash; puts a backup back',
    details:
      '\nA backup goes into the databases of the settings, which may be of the other kind: SQLite or PostgreSQL. Whoever was erased after the backup\nstays erased. --force replaces what is there. The\nsidecar must not run meanwhile.\n',
    options: { ...KEY_OPTIONS, 'identity-file': { type: 'string' }, force: { type: 'boolean' } },
    run: (run) => (run.positionals[0]?.endsWith('.age') === true ? restore(run) : restoreCharacter(run)),
  },
]
