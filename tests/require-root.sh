#!/usr/bin/env bash
# Say what is missing before anything is built or started.
set -u
if [ "$(uname -s)" != Linux ] || [ "$(id -u)" != 0 ]; then
    echo "$1 starts a real cluster on this machine and needs Linux and root; \`make test-unit\` needs neither." >&2
    exit 1
fi
