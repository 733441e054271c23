#!/usr/bin/env bash
# Installs a folder's npm packages exactly as its lock file says, unless that is what is installed already.
#
#   scripts/npm-install.sh web
#
# `npm ci` alone would delete and fetch everything on every run, and so need the network on every run.
set -euo pipefail

folder=${1:?usage: scripts/npm-install.sh FOLDER}
cd "$folder"

stamp=node_modules/.installed-lock.json
if cmp -s package-lock.json "$stamp"; then
    exit 0
fi
npm ci --prefer-offline --no-fund --no-audit
cp package-lock.json "$stamp"
