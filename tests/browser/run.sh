#!/usr/bin/env bash
# Starts `BINARY sandbox` on a free port, audits its HTTP, uses its GraphiQL page with headless Chromium, and stops
# what it started.
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
patience_seconds=30

main() {
    rm -rf "$scratch"
    mkdir -p "$scratch"
    "$root/scripts/npm-install.sh" "$here"
    start_sandbox
    local outcome=0
    node "$here/audit.mjs" "$(address)" || outcome=$?
    node "$here/graphiql.mjs" "$(address)" "$scratch" | tee "$scratch/browser.log" || outcome=$?
    if [ "$outcome" -ne 0 ]; then
        stop_sandbox
        echo "--- the sandbox's last words ($scratch/sandbox.log)"
        tail -n 40 "$scratch/sandbox.log"
        tail -n 1 "$scratch/browser.log"
    fi
    return "$outcome"
}

start_sandbox() {
    "$binary" sandbox --listen 127.0.0.1:0 >"$scratch/sandbox.log" 2>&1 &
    sandbox=$!
    trap stop_sandbox EXIT
    local deadline=$((SECONDS + patience_seconds))
    until [ -n "$(address)" ]; do
        if ! kill -0 "$sandbox" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            echo "the sandbox ended, or printed no address within ${patience_seconds} s; it said:" >&2
            cat "$scratch/sandbox.log" >&2
            echo "browser: 0 passed, 1 failed"
            exit 1
        fi
        sleep 0.1
    done
}

address() {
    sed -n 's#.*listening on \(http://127\.0\.0\.1:[0-9][0-9]*\).*#\1#p' "$scratch/sandbox.log" | head -n 1
}

stop_sandbox() {
    trap - EXIT
    kill "$sandbox" 2>/dev/null || true
    wait "$sandbox" 2>/dev/null || true
}

main
