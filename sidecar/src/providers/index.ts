/** The kinds of model servers. A driver is loaded when the first server of its kind is opened. */
import type { Provider, ProviderDriver, ProviderOptions } from './provider.ts'

export const drivers = {
  ollama: () => import('./ollama.ts'),
  openai: () => import('./openai.ts'),
} as const satisfies Record<string, () => Promise<{ default: ProviderDriver }>>

export type ProviderKind = keyof typeof drivers

/** The caller closes what it gets. */
export async function openProvider(kind: ProviderKind, options: ProviderOptions): Promise<Provider> {
  const { default: driver } = await drivers[kind]()
  return driver.open(options)
}
