#!/usr/bin/env bash
# Say what is missing before anything is built or started; on Debian as root, install it.
set -u
python=$1
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Python 3.11 or newer is needed as $python; make PYTHON=/path/to/python3 uses another one." >&2
    exit 1
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "installing python3-venv"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null && exit 0
fi
echo "$python lacks its venv module; on Debian: apt-get install python3-venv" >&2
exit 1
