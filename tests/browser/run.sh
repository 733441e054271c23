#!/usr/bin/env bash
# Audits the HTTP of `BINARY sandbox`, and uses its GraphiQL page with headless Chromium.
#
#   tests/browser/run.sh target/debug/tidegate
#
# The last line of the output is `browser: N passed, M failed`. Logs and pictures of failures are left in
# target/browser. CHROMIUM names the browser to use, where it is not on the PATH.
set -euo pipefail

binary=${1:?usage: tests/browser/run.sh BINARY}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
scratch=$root/target/browser
checks=browser
source "$here/../sandbox.sh"

rm -rf "$scratch"
mkdir -p "$scratch"
"$root/scripts/npm-install.sh" "$here"
start_sandbox
outcome=0
node "$here/audit.mjs" "$(address)" || outcome=$?
node "$here/graphiql.mjs" "$(address)" "$scratch" | tee "$scratch/$checks.log" || outcome=$?
[ "$outcome" -eq 0 ] || last_words
exit "$outcome"
