/** What each client script shares: it runs the checks that are asked for, and writes one line of JSON for each. */
const wanted = (process.env.CHECKS ?? '').split(',')

export const {
  BASE_URL,
  KEY,
  WRONG_KEY,
  LIMITED_KEY,
  SPENT_KEY,
  CHARACTER,
  TOOLED,
  SCRIPTED,
  EMBEDDER,
  PICTURE,
} = process.env

/** What a client has to see where one call more than allowed was made, and where nothing is left. */
export const LIMITED = 'rate_limit_exceeded'
export const SPENT = 'insufficient_quota'

/** The words that the model ends with when the tool has answered. */
export const TOLD = 'It is 12 degrees.'

/** @param {Record<string, () => Promise<unknown>>} checks What a check returns must be true. */
export async function run(checks) {
  for (const [check, action] of Object.entries(checks)) {
    if (!wanted.includes(check)) continue
    let detail = ''
    const ok = await action().catch((error) => {
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

export const TOOL = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Tells the weather of a city',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}
export const SCHEMA = {
  type: 'object',
  properties: { name: { type: 'string', enum: ['Mira'] } },
  required: ['name'],
  additionalProperties: false,
}
