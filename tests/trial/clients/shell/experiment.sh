#!/bin/sh
# Forty tables, each made of the one before: a step that is lost, done twice or restored half shows in all that follow.
set -eu
cd "$SWEEP_SNAPSHOT_DIR"
trap 'exit 143' TERM
mkdir -p tables
step=0
if [ -n "${SWEEP_RESUME_FROM:-}" ] && [ -f "${SWEEP_RESUME_FROM#file://}" ]; then
    step=$(cat "${SWEEP_RESUME_FROM#file://}")
    # What the number speaks of was written before it, so it must have come back with it.
    sha256sum --check --quiet "tables/$step.sha256"
fi
while [ "$step" -lt 40 ]; do
    # In the background: a shell sees no signal before a command of its own has ended.
    sleep 1 &
    wait $!
    next=$((step + 1))
    { echo "table $next"; cat "tables/$step.txt" 2>/dev/null | sha256sum; seq "$next" 17 2000; } > "tables/$next.txt.tmp"
    mv "tables/$next.txt.tmp" "tables/$next.txt"
    sha256sum "tables/$next.txt" > "tables/$next.sha256.tmp"
    mv "tables/$next.sha256.tmp" "tables/$next.sha256"
    echo "$next" > step.tmp
    mv step.tmp step
    step=$next
    echo "ran $step"
done
