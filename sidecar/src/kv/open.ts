/** Chooses the engine by the URL; without one, values stay in this process. */
import type { Kv } from './kv.ts'
import { openMemoryKv } from './memory.ts'

export async function openKv({ url, now }: { url: string | undefined; now: () => number }): Promise<Kv> {
  if (url === undefined) return openMemoryKv({ now })
  const { openRedisKv } = await import('./redis.ts')
  return openRedisKv({ url, now })
}
