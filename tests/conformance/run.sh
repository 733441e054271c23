#!/usr/bin/env bash
# Starts `BINARY sandbox` on a free port, holds MCP's own conformance suites against its /mcp, and stops what it started.
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
patience_seconds=30

main() {
    rm -rf "$scratch"
    mkdir -p "$scratch"
    "$root/scripts/npm-install.sh" "$here"
    start_sandbox
    local outcome=0
    node "$here/hold.mjs" "$(address)/mcp" "$scratch" | tee "$scratch/conformance.log" || outcome=$?
    if [ "$outcome" -ne 0 ]; then
        stop_sandbox
        echo "--- the sandbox's last words ($scratch/sandbox.log)"
        tail -n 40 "$scratch/sandbox.log"
        tail -n 1 "$scratch/conformance.log"
    fi
    return "$outcome"
}

start_sandbox() {
    : >"$scratch/sandbox.log"
    # Some checks are only made where there is a tool.
    TIDEGATE_GRAPHQL_TRUSTED_DOCUMENTS=$here/documents.json "$binary" sandbox --listen 127.0.0.1:0 >"$scratch/sandbox.log" 2>&1 &
    sandbox=$!
    trap stop_sandbox EXIT
    local deadline=$((SECONDS + patience_seconds))
    until [ -n "$(address)" ]; do
        if ! kill -0 "$sandbox" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            echo "the sandbox ended, or printed no address within ${patience_seconds} s; it said:" >&2
            cat "$scratch/sandbox.log" >&2
            echo "conformance: 0 passed, 1 failed"
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
