/** What models cost. Amounts are in millionths of whatever currency the prices are in: whole numbers that can be summed. */

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
}

/** Null for a model without a price. */
export type CostOf = (model: string | null, usage: PricedUsage) => number | null

export type Prices = ReadonlyMap<string, Price>

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

export function createCostOf(prices: Prices): CostOf {
  return (model, { promptTokens, cachedTokens, completionTokens }) => {
    const price = prices.get(model ?? REST) ?? prices.get(REST)
    if (price === undefined) return null
    const kept = Math.min(cachedTokens ?? 0, promptTokens ?? 0)
    const read = (promptTokens ?? 0) - kept
    return Math.ceil(read * price.input + kept * price.cached + (completionTokens ?? 0) * price.output)
  }
}
