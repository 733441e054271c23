#!/usr/bin/env bash
# Runs make targets one after the other and ends with a table of how long each took.
#
#   scripts/timed.sh TITLE TARGET...
#
# Stops at the first target that fails, with its exit code; the table is printed then, too.
set -uo pipefail

title=${1:?usage: scripts/timed.sh TITLE TARGET...}
shift

table=''
total=0
outcome=0
for target in "$@"; do
    printf '\n==> %s: %s\n' "$title" "$target"
    began=$(date +%s)
    "${MAKE:-make}" --no-print-directory "$target" || outcome=$?
    took=$(($(date +%s) - began))
    total=$((total + took))
    mark=ok
    [ "$outcome" -eq 0 ] || mark=FAILED
    table+=$(printf '%-24s %6d s  %s' "$target" "$took" "$mark")$'\n'
    [ "$outcome" -eq 0 ] || break
done

printf '\n%s: where the time went\n%s%-24s %6d s\n' "$title" "$table" total "$total"
exit "$outcome"
