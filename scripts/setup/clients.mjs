/** OpenAI clients of other people, for the test that holds the sidecar against them. */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'

import { cached, fingerprintOfFiles, ROOT } from './cache.mjs'
import { npmCi } from './node-modules.mjs'
import { installPythonEnvironment } from './python.mjs'

const FOLDER = path.join(ROOT, 'tests', 'e2e', 'clients')
const FILES = ['package.json', 'package-lock.json'].map((file) => path.join(FOLDER, file))

/**
 * The Node and Python clients, made when they are not in the cache.
 *
 * @returns {Promise<{ nodeModules: string, python: string }>} A `node_modules` folder, and a Python that has the packages.
 */
export async function installClients() {
  const [node, python] = await Promise.all([
    cached(
      `clients-${fingerprintOfFiles(FILES)}`,
      async (dir) => {
        mkdirSync(dir, { recursive: true })
        for (const file of FILES) copyFileSync(file, path.join(dir, path.basename(file)))
        await npmCi(dir, 'npm-ci-clients')
      },
      { isUsable: (dir) => existsSync(path.join(dir, 'node_modules')) },
    ),
    installPythonEnvironment('clients'),
  ])
  return { nodeModules: path.join(node, 'node_modules'), python: path.join(python, 'bin', 'python') }
}
