#!/usr/bin/env bash
# Holds MCP's own conformance suites against the /mcp of `BINARY sandbox`.
#
#   tests/conformance/run.sh target/debug/tidegate
#
# The last line of the output is `conformance: N passed, M failed`. Logs and the suites' own results are left in
# target/conformance.
set -euo pipefail

binary=${1:?usage: tests/conformance/run.sh BINARY}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$root/target/conformance
checks=conformance
source "$here/../sandbox.sh"

rm -rf "$scratch"
mkdir -p "$scratch"
"$root/scripts/npm-install.sh" "$here"
# Some checks are only made where there is a tool.
export TIDEGATE_GRAPHQL_TRUSTED_DOCUMENTS=$here/documents.json
start_sandbox
outcome=0
node "$here/hold.mjs" "$(address)/mcp" "$scratch" | tee "$scratch/$checks.log" || outcome=$?
[ "$outcome" -eq 0 ] || last_words
exit "$outcome"
