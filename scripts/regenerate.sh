#!/usr/bin/env bash
# Replaces FILE by what COMMAND prints, but only once COMMAND has succeeded.
#
#   scripts/regenerate.sh schema.graphql cargo run -q -- schema
set -euo pipefail

file=${1:?usage: scripts/regenerate.sh FILE COMMAND...}
shift

printed=$(mktemp)
trap 'rm -f "$printed"' EXIT
"$@" >"$printed"
cat "$printed" >"$file"
