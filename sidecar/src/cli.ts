/** `npm run troupe`. */
import { runCli } from './cli/run.ts'
import { readConfig } from './config.ts'

const { env, stdout, stderr } = process
// Read when a command works on the databases themselves; the others ask a running sidecar.
const house = () => readConfig(env)
process.exitCode = await runCli(process.argv.slice(2), { env, out: stdout, err: stderr, house })
