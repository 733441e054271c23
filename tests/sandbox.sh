# For scripts that hold something against `BINARY sandbox`: starts it on a free port, and stops it however they end.
#
# To be sourced, with $binary, $scratch (a folder for logs) and $checks (the first word of the script's last line) set.

patience_seconds=30

start_sandbox() {
    : >"$scratch/sandbox.log"
    "$binary" sandbox --listen 127.0.0.1:0 >"$scratch/sandbox.log" 2>&1 &
    sandbox=$!
    trap stop_sandbox EXIT
    local deadline=$((SECONDS + patience_seconds))
    until [ -n "$(address)" ]; do
        if ! kill -0 "$sandbox" 2>/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
            echo "the sandbox ended, or printed no address within ${patience_seconds} s; it said:" >&2
            cat "$scratch/sandbox.log" >&2
            echo "$checks: 0 passed, 1 failed"
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

# What is printed when something has failed. Its last line is that of the checks' own log.
last_words() {
    stop_sandbox
    echo "--- the sandbox's last words ($scratch/sandbox.log)"
    tail -n 40 "$scratch/sandbox.log"
    tail -n 1 "$scratch/$checks.log"
}
