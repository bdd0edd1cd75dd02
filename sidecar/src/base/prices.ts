/** What models cost. Amounts are in millionths of whatever currency the prices are in: whole numbers that can be summed. */

/** Amounts in one unit of the currency. */
export const MICRO = 1_000_000

/** Prices of a million tokens. */
export interface Price {
  input: number
  output: number
  /** Of input that the server had kept from before. */
  cached: number
}

export interface PricedUsage {
  promptTokens: number | null
  cachedTokens?: number | null
  completionTokens: number | null
  /** Milliseconds in which the model server worked for it; null where it does not tell. */
  busyMs?: number | null
}

/** Null for a model without a price, and for a call without what the price is about. */
export type CostOf = (model: string | null, usage: PricedUsage) => number | null

export type Prices = ReadonlyMap<string, Price>

/** What a machine of one's own costs. */
export interface Power {
  /** Of a kilowatt-hour. */
  price: number
  /** That the machine draws while it works, by model. */
  watts: ReadonlyMap<string, number>
}

/** Stands for every model that is not named. */
const REST = '*'

/** Reads `model=input/output;other=input/output/cached;*=…`; undefined for anything else. */
export function readPrices(text: string): Prices | undefined {
  const prices = new Map<string, Price>()
  for (const entry of text.split(';')) {
    if (entry.trim() === '') continue
    const [, name, amounts] = /^(.+)=([^=]+)$/.exec(entry.trim()) ?? []
    const numbers = amounts?.split('/').map((amount) => (amount.trim() === '' ? NaN : Number(amount))) ?? []
    const [input, output, cached = input] = numbers
    if (name === undefined || input === undefined || output === undefined || cached === undefined)
      return undefined
    if (numbers.length > 3 || numbers.some((number) => !(number >= 0 && number < Infinity))) return undefined
    prices.set(name.trim(), { input, output, cached })
  }
  return prices
}

/** Reads `model=watts;*=watts`; undefined for anything else. */
export function readWatts(text: string): Power['watts'] | undefined {
  const watts = new Map<string, number>()
  for (const entry of text.split(';')) {
    if (entry.trim() === '') continue
    const [, name, amount] = /^(.+)=\s*(\d+(?:\.\d+)?)\s*$/.exec(entry.trim()) ?? []
    if (name === undefined) return undefined
    watts.set(name.trim(), Number(amount))
  }
  return watts
}

const HOUR_MS = 3_600_000

/** Millionths for so long at so much power. */
function costOfPower({ price, watts }: Power, model: string | null, busyMs: number | null): number | null {
  const drawn = watts.get(model ?? REST) ?? watts.get(REST)
  if (drawn === undefined || busyMs === null) return null
  return Math.ceil(price * (drawn / 1_000) * (busyMs / HOUR_MS) * MICRO)
}

/** By power where the model has no price of its own and none is for the rest. */
export function createCostOf(prices: Prices, power?: Power): CostOf {
  return (model, { promptTokens, cachedTokens, completionTokens, busyMs = null }) => {
    const price = prices.get(model ?? REST) ?? prices.get(REST)
    if (price === undefined) return power === undefined ? null : costOfPower(power, model, busyMs)
    const kept = Math.min(cachedTokens ?? 0, promptTokens ?? 0)
    const read = (promptTokens ?? 0) - kept
    return Math.ceil(read * price.input + kept * price.cached + (completionTokens ?? 0) * price.output)
  }
}
