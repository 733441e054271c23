#!/usr/bin/env bash
# Makes sure that the tools which the tests and benchmarks need, and cargo does not bring, are there.
#
#   scripts/install-test-tools.sh                      what `make test` needs: node, npm, a Chromium, Redis, PostgreSQL,
#                                                      Python; the blockchain nodes of tests/nodes, and the MCP
#                                                      servers of tests/mcp
#   scripts/install-test-tools.sh wrk redis-server …   what `make bench` needs besides
#
# On Debian as root it installs what is missing. Anywhere else it says what to install and fails. Nodes and servers come
# from npm and PyPI, by exact versions and hashes, into folders of the repository that Git ignores.
set -euo pipefail

# Vite 8 refuses anything older.
oldest_node=20.19.0
root=$(cd "$(dirname "$0")/.." && pwd)

main() {
    local wanted=("$@") packages=() tool
    if [ $# -eq 0 ]; then
        wanted=(node npm chromium redis-server redis-cli postgres psql python3-venv)
    fi
    for tool in "${wanted[@]}"; do
        has "$tool" || packages+=("$(package_of "$tool")")
    done
    if [ ${#packages[@]} -gt 0 ]; then
        install "${packages[@]}"
    fi
    if [ $# -eq 0 ]; then
        require_node_version
        install_nodes_and_servers
    fi
}

has() {
    case $1 in
    chromium)
        [ -n "${CHROMIUM:-}" ] || on_path chromium chromium-browser google-chrome google-chrome-stable ||
            [ -d /Applications/Chromium.app ] || [ -d '/Applications/Google Chrome.app' ]
        ;;
    # Debian keeps the server's programs in a folder for each version.
    postgres | initdb) on_path "$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null ;;
    # Debian's Python comes without.
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) on_path "$1" ;;
    esac
}

on_path() {
    local name
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            return 0
        fi
    done
    return 1
}

package_of() {
    case $1 in
    node) echo nodejs ;;
    redis-cli | redis-benchmark) echo redis-tools ;;
    postgres) echo postgresql ;;
    psql) echo postgresql-client ;;
    *) echo "$1" ;;
    esac
}

install() {
    if ! on_path apt-get; then
        echo "missing: $*; install these with your package manager and run this again" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing: $*; this would install them: sudo apt-get install --no-install-recommends $*" >&2
        exit 1
    fi
    echo "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt_get update
    case " $* " in *' postgresql '*) prevent_cluster ;; esac
    apt_get install -y --no-install-recommends "$@"
}

apt_get() {
    apt-get -o DPkg::Lock::Timeout=300 -qq "$@"
}

# The package of the server would make a database and start it. The tests start their own. Where somebody has set up
# PostgreSQL before, that stays as it is.
prevent_cluster() {
    local settings=/etc/postgresql-common/createcluster.conf
    [ ! -e "$settings" ] || return 0
    apt_get install -y --no-install-recommends postgresql-common
    echo 'create_main_cluster = false' >>"$settings"
}

require_node_version() {
    local version
    version=$(node --version | tr -d v)
    if [ "$(printf '%s\n' "$oldest_node" "$version" | sort -V | head -n 1)" != "$oldest_node" ]; then
        echo "node is $version, but the GraphiQL page builds with $oldest_node or newer" >&2
        exit 1
    fi
}

# The Python environments are where tests/it/harness/ looks: beside what cargo builds.
install_nodes_and_servers() {
    local built=${CARGO_TARGET_DIR:-target}
    cd "$root"
    mkdir -p "$built"
    scripts/npm-install.sh tests/nodes
    scripts/pip-install.sh tests/nodes/svm/requirements.txt "$built/test-python"
    scripts/npm-install.sh tests/mcp
    scripts/pip-install.sh tests/mcp/time-legacy.txt "$built/test-mcp-time-legacy"
    scripts/pip-install.sh tests/mcp/time-modern.txt "$built/test-mcp-time-modern"
}

main "$@"
