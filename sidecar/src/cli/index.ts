/** `npm run troupe`. */
import { runCli } from './run.ts'

const { env, stdout, stderr } = process
process.exitCode = await runCli(process.argv.slice(2), { env, out: stdout, err: stderr })
