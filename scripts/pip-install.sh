#!/usr/bin/env bash
# Installs Python packages exactly as a file of versions and hashes says, into a virtual environment of their own, unless
# that is what is installed already.
#
#   scripts/pip-install.sh tests/nodes/svm/requirements.txt target/test-python
set -euo pipefail

requirements=${1:?usage: scripts/pip-install.sh REQUIREMENTS FOLDER}
folder=${2:?usage: scripts/pip-install.sh REQUIREMENTS FOLDER}

stamp=$folder/.installed-requirements.txt
# Another Python, or none any more, makes it all anew.
if cmp -s "$requirements" "$stamp" && "$folder/bin/python" -c '' 2>/dev/null; then
    exit 0
fi
rm -rf "$folder"
python3 -m venv "$folder"
if ! "$folder/bin/python" -m pip --disable-pip-version-check install --quiet --only-binary :all: --require-hashes \
    -r "$requirements"; then
    echo "pip could not install $requirements; it needs a network with pypi.org or a mirror of it (PIP_INDEX_URL)" >&2
    echo "and a Python that has wheels of them: CPython 3.10 or newer on Linux or macOS" >&2
    exit 1
fi
cp "$requirements" "$stamp"
