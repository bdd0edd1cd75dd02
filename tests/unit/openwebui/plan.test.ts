import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { PUBLIC_READ, type ModelRow } from '#openwebui/client.ts'
import { isOurs, planSync, type SyncPlan } from '#openwebui/plan.ts'
import { characterRow, taskRow, type SyncCharacter } from '#openwebui/rows.ts'

const character = (over: Partial<SyncCharacter> = {}): SyncCharacter => ({
  id: 'mira',
  name: 'Mira',
  tagline: 'Keeps a lighthouse.',
  tags: ['Companion'],
  greetings: [],
  groups: null,
  portrait: null,
  takesPictures: false,
  ...over,
})

/** The row as Open WebUI has it after a plan was carried out. */
function store(over: Partial<SyncCharacter> = {}, row: Partial<ModelRow> = {}): ModelRow {
  const { id, name, meta, revision } = characterRow(character(over))
  const mark = { owner: 'troupe', revision }
  return {
    id,
    name,
    params: {},
    access_grants: [...PUBLIC_READ],
    ...row,
    meta: { ...meta, troupe: mark, ...row.meta },
  }
}

const summary = ({ steps }: SyncPlan) => steps.map(({ action, id }) => `${action} ${id}`)

describe('a plan', () => {
  test('creates what is not there, open to everybody and with our mark', () => {
    const desired = characterRow(character())
    const { steps } = planSync([desired], [])
    expect(steps).toEqual([
      {
        action: 'create',
        id: 'mira',
        reason: 'not there yet; everybody may use it',
        difference: [],
        row: {
          id: 'mira',
          name: 'Mira',
          base_model_id: null,
          params: {},
          meta: { ...desired.meta, troupe: { owner: 'troupe', revision: desired.revision } },
          access_grants: PUBLIC_READ,
        },
      },
    ])
  })

  test('leaves alone what an admin changed by hand, and tells of it where we fill the field', () => {
    const own = store({}, { access_grants: [], meta: { hidden: true }, params: { temperature: 0 } })
    expect(summary(planSync([characterRow(character())], [own]))).toEqual(['unchanged mira'])
    const renamed = store({}, { name: 'Renamed there' })
    const [step] = planSync([characterRow(character())], [renamed]).steps
    expect(step).toMatchObject({ action: 'drift', difference: ['name: "Renamed there" → "Mira"'] })
    const forced = planSync([characterRow(character())], [renamed], { force: true }).steps
    expect(forced).toMatchObject([{ action: 'update', row: { name: 'Mira' } }])
  })

  describe('for groups', () => {
    const groups = [
      { id: 'g1', name: 'Club' },
      { id: 'g2', name: 'Staff' },
    ]
    const grant = (id: string) => ({ principal_type: 'group', principal_id: id, permission: 'read' })
    const forClub = characterRow(character({ groups: ['Club'] }))

    test('shows a new character to them only', () => {
      expect(planSync([forClub], [], { groups }).steps).toMatchObject([
        { action: 'create', row: { access_grants: [grant('g1')] } },
      ])
    })

    test('takes an open character from the others, and gives it back when the groups are taken away', () => {
      const [step] = planSync([forClub], [store()], { groups }).steps
      expect(step).toMatchObject({ action: 'update', grants: [grant('g1')], difference: ['access: Club'] })
      const closed = carryOut({ steps: step === undefined ? [] : [step] }, [store()])
      expect(summary(planSync([forClub], closed, { groups }))).toEqual(['unchanged mira'])
      expect(planSync([characterRow(character())], closed, { groups }).steps).toMatchObject([
        { action: 'update', grants: PUBLIC_READ },
      ])
    })

    test('brings back access that was changed by hand, without sending the row', () => {
      const mark = { owner: 'troupe', revision: forClub.revision, grants: 'groups' }
      const [step] = planSync([forClub], [store({}, { meta: { troupe: mark } })], { groups }).steps
      expect(step).toMatchObject({ action: 'update', grants: [grant('g1')] })
      expect(step).not.toHaveProperty('row')
    })

    test('names a group that Open WebUI does not have, and shows the character to nobody else', () => {
      const steps = planSync([characterRow(character({ groups: ['Clvb'] }))], [], { groups }).steps
      expect(steps).toMatchObject([
        { action: 'create', row: { access_grants: [] } },
        { action: 'incomplete', reason: expect.stringContaining('Clvb') as string },
      ])
    })
  })

  test('sends a changed character whole, without access, and with the parameters that are there', () => {
    const stored = store({ name: 'Old' }, { params: { temperature: 0.2 } })
    const [step] = planSync([characterRow(character())], [stored]).steps
    expect(step).toMatchObject({ action: 'update', row: { params: { temperature: 0.2 } } })
    expect(step).not.toHaveProperty('row.access_grants')
    expect(step).not.toHaveProperty('row.is_active')
  })

  test.each<[string, Partial<SyncCharacter>, string]>([
    ['a new name', { name: 'Old' }, 'name: "Old" → "Mira"'],
    ['a new tagline', { tagline: '' }, 'description: none → "Keeps a lighthouse."'],
    ['other tags', { tags: ['Sea', 'Calm'] }, 'tags: Sea, Calm → Companion'],
    [
      'fewer greetings',
      { greetings: [{ prompt: '(Begin the scene)', greeting: 'Hi' }] },
      'greetings: Hi → none',
    ],
    ['a portrait that is gone', { portrait: Buffer.from('x') }, 'picture: removed'],
    ['a long text', { tagline: 'x'.repeat(99) }, `description: "${'x'.repeat(59)}… → "Keeps a lighthouse."`],
  ])('says what differs: %s', (_, before, line) => {
    const [step] = planSync([characterRow(character())], [store(before)]).steps
    expect(step?.difference).toEqual([line])
    expect(step?.reason).toBe(`changed: ${line.slice(0, line.indexOf(':'))}`)
  })

  test('never shows the bytes of a picture', () => {
    const before = store({ portrait: Buffer.from('first picture') })
    const [step] = planSync(
      [characterRow(character({ portrait: Buffer.from('second picture') }))],
      [before],
    ).steps
    expect(step?.difference).toEqual(['picture: replaced'])
  })

  test('updates a row whose fields are right but whose revision is not', () => {
    const stored = store({}, { meta: { troupe: { owner: 'troupe', revision: 'of an earlier version' } } })
    expect(planSync([characterRow(character())], [stored]).steps).toMatchObject([
      { action: 'update', reason: 'changed in Troupe', difference: [] },
    ])
  })

  test.each([
    ['no mark', undefined],
    ['the mark of somebody else', { owner: 'somebody', revision: 'x' }],
    ['a mark that is no object', 'troupe'],
  ])('does not touch a row with %s', (_, troupe) => {
    const foreign = { ...store(), meta: { troupe } }
    expect(summary(planSync([characterRow(character())], [foreign]))).toEqual(['conflict mira'])
    expect(summary(planSync([], [foreign]))).toEqual([])
  })

  test('deletes our rows whose character is gone', () => {
    const foreign = { ...store({ id: 'gpt' }), meta: {} }
    expect(summary(planSync([taskRow('troupe-task')], [store(), foreign]))).toEqual([
      'create troupe-task',
      'delete mira',
    ])
  })
})

const characters = fc.uniqueArray(
  fc.record({
    id: fc.constantFrom('mira', 'otto', 'ada', 'kim'),
    name: fc.string({ minLength: 1 }),
    tagline: fc.string(),
    tags: fc.array(fc.string(), { maxLength: 3 }),
    greetings: fc.array(fc.record({ prompt: fc.string(), greeting: fc.string() }), { maxLength: 3 }),
    groups: fc.constantFrom(null, ['Club'], ['Club', 'Staff'], []),
    portrait: fc.option(fc.uint8Array({ maxLength: 8 })),
    takesPictures: fc.boolean(),
  }),
  { selector: ({ id }) => id, maxLength: 4 },
)

/** What Open WebUI holds after the steps. */
function carryOut({ steps }: SyncPlan, existing: readonly ModelRow[]): ModelRow[] {
  const rows = new Map(existing.map((row) => [row.id, row]))
  for (const step of steps) {
    if (step.action === 'delete') rows.delete(step.id)
    if (step.action !== 'create' && step.action !== 'update') continue
    const before = rows.get(step.id)
    const changed =
      step.row === undefined ? before : { ...step.row, meta: { ...before?.meta, ...step.row.meta } }
    if (changed === undefined) throw new Error(`${step.id} is not there to be changed`)
    const grants = step.action === 'create' ? step.row.access_grants : (step.grants ?? before?.access_grants)
    rows.set(step.id, { ...changed, access_grants: [...(grants ?? [])] })
  }
  return [...rows.values()]
}

test('whatever was there, a carried-out plan leaves nothing to do and every foreign row as it was', () => {
  fc.assert(
    fc.property(characters, characters, fc.subarray(['mira', 'otto', 'zoe']), (before, after, foreignIds) => {
      const foreign = foreignIds.map((id): ModelRow => ({
        id,
        name: id,
        params: {},
        meta: {},
        access_grants: [],
      }))
      const groups = [
        { id: 'g1', name: 'Club' },
        { id: 'g2', name: 'Staff' },
      ]
      const start = carryOut(planSync(before.map(characterRow), foreign, { groups }), foreign)
      const end = carryOut(planSync(after.map(characterRow), start, { groups }), start)
      expect(end).toEqual(expect.arrayContaining(foreign))
      const again = planSync(after.map(characterRow), end, { groups }).steps
      expect(again.filter(({ action }) => action !== 'unchanged' && action !== 'conflict')).toEqual([])
      const wanted = after.map(({ id }) => id).filter((id) => !foreignIds.includes(id))
      expect(
        end
          .filter(isOurs)
          .map(({ id }) => id)
          .sort(),
      ).toEqual(wanted.sort())
    }),
  )
})
