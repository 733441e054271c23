// Runs the conformance suites of MCP against a server, and holds what passes against passing.txt.
//
//   node hold.mjs http://127.0.0.1:8080/mcp FOLDER
//
// A line of passing.txt is `SUITE SCENARIO CHECK`. What stands there must pass. What passes and does not stand there must
// be added, so that it is held from then on. Other checks ask for tools, prompts and resources that only a server made
// for the suite has.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PATIENCE_MS = 300_000
const SUITES = [
  { name: 'released', package: 'conformance', flags: ['--suite', 'all'] },
  { name: '2025-11-25', package: 'conformance-next', flags: ['--requirements', '2025-11-25'] },
  { name: '2026-07-28', package: 'conformance-next', flags: ['--requirements', '2026-07-28'] },
]

const [url, folder] = process.argv.slice(2)
const here = dirname(fileURLToPath(import.meta.url))
// The suites need Node 22, which is newer than what GraphiQL needs. Where npm has none for this system, ours must do.
const installed = join(here, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
const node = existsSync(installed) ? installed : process.execPath

function run(suite) {
  const output = join(folder, suite.name)
  const program = join(here, 'node_modules', suite.package, 'dist', 'index.js')
  const ended = spawnSync(node, [program, 'server', '--url', url, '--output-dir', output, ...suite.flags], {
    encoding: 'utf8',
    timeout: PATIENCE_MS,
  })
  writeFileSync(join(folder, `${suite.name}.log`), `${ended.stdout}${ended.stderr}`)
  // It also ends with an error where a check fails; that is looked at one by one.
  if (ended.error || ended.signal) throw ended.error ?? new Error(`${suite.name} ended by ${ended.signal}`)
  return read(suite, output)
}

/** Which checks passed: a check that a scenario makes several times must pass every time. */
function read(suite, output) {
  const verdicts = new Map()
  for (const entry of readdirSync(output)) {
    const scenario = entry.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, '')
    for (const check of JSON.parse(readFileSync(join(output, entry, 'checks.json'), 'utf8'))) {
      const line = `${suite.name} ${scenario} ${check.id}`
      if (check.status === 'SUCCESS' || check.status === 'FAILURE') {
        verdicts.set(line, (verdicts.get(line) ?? true) && check.status === 'SUCCESS')
      }
    }
  }
  return [...verdicts].filter(([, passes]) => passes).map(([line]) => line)
}

function listed() {
  const lines = readFileSync(join(here, 'passing.txt'), 'utf8').split('\n').map((line) => line.trim())
  return lines.filter((line) => line && !line.startsWith('#'))
}

const passing = SUITES.flatMap(run)
const expected = listed()
const lost = expected.filter((line) => !passing.includes(line))
const gained = passing.filter((line) => !expected.includes(line)).sort()
for (const line of lost) console.log(`no longer passes: ${line}`)
for (const line of gained) console.log(`passes now; add it to tests/conformance/passing.txt: ${line}`)
console.log(`conformance: ${expected.length - lost.length} passed, ${lost.length + gained.length} failed`)
process.exit(lost.length + gained.length === 0 ? 0 : 1)
