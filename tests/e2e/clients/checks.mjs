/** What each client script shares: it runs the checks that are asked for, and writes one line of JSON for each. */
import assert from 'node:assert/strict'

/** Its fields: `Given` in tests/e2e/clients.test.ts. */
export const given = JSON.parse(process.env.GIVEN)

/** @param {Record<string, () => Promise<unknown>>} checks What a check returns must be true. */
export async function run(checks) {
  for (const check of given.checks) {
    if (!(check in checks)) continue
    let detail = ''
    const ok = await checks[check]().catch((error) => {
      detail = String(error?.stack ?? error)
      return false
    })
    process.stdout.write(`${JSON.stringify({ check, ok: ok === true, detail: detail || String(ok) })}\n`)
  }
}

/** The error that an action throws. */
export const failure = async (action) => {
  try {
    await action()
  } catch (error) {
    return error
  }
  throw new Error('It did not fail')
}

/**
 * The checks of what is refused: the client must show our envelope.
 *
 * @param {(asks: { n?: number, key?: string, model?: string }) => Promise<unknown>} ask Makes the call that fails.
 * @param {(error: any) => object} told What the client shows of it, as in `Refusal`, and `says`: all of the sentence.
 * @param {string[]} lacks What it has no place for.
 */
export const refusals = (ask, told, lacks = []) =>
  Object.fromEntries(
    given.refusals.map(({ check, asks, says, ...expected }) => [
      check,
      async () => {
        const { says: said, ...seen } = told(await failure(() => ask(asks)))
        for (const field of lacks) delete expected[field]
        assert.deepEqual(seen, expected)
        return said.includes(says) || said
      },
    ]),
  )

/** As `openai` and what is made of it throw it. */
export const toldByOpenAi = (error) => ({
  kind: error.constructor.name,
  status: error.status,
  type: error.type,
  code: error.code,
  param: error.param,
  waits: Number(error.headers.get('retry-after')) > 0,
  says: error.message,
})
