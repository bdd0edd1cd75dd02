import { configDefaults, defineConfig } from 'vitest/config'

/**
 * The kinds of test, by folder. `unit` is pure and fast; `e2e` starts real processes and browsers; `reliability` breaks and
 * attacks what runs.
 */
const kind = (
  name: string,
  options: { testTimeout?: number; hookTimeout?: number; fileParallelism?: boolean } = {},
) => ({
  extends: true as const,
  test: { name, include: [`tests/${name}/**/*.test.ts`], ...options },
})

export default defineConfig({
  test: {
    environment: 'node',
    restoreMocks: true,
    unstubEnvs: true,
    unstubGlobals: true,
    // That something happens is polled for; how soon it has to is asserted.
    expect: { poll: { timeout: 10_000 } },
    exclude: [...configDefaults.exclude, 'dist/**'],
    projects: [
      // What a test may cost is asserted in it; on a busy machine it waits.
      kind('unit', { testTimeout: 30_000, hookTimeout: 60_000 }),
      kind('contract', { testTimeout: 20_000, hookTimeout: 60_000 }),
      kind('http', { testTimeout: 30_000, hookTimeout: 60_000 }),
      kind('reliability', { testTimeout: 180_000, hookTimeout: 120_000, fileParallelism: false }),
      // Real servers share ports, cores and one model: one file after the other, and time for a cold model.
      kind('e2e', { testTimeout: 180_000, hookTimeout: 600_000, fileParallelism: false }),
    ],
    coverage: {
      provider: 'v8',
      include: ['sidecar/src/**/*.ts'],
      reporter: ['text-summary', 'json-summary', 'html'],
      reportsDirectory: 'coverage',
      thresholds: { lines: 80, branches: 80 },
    },
  },
})
