#!/bin/bash
# Runs the tests in groups and prints how long each group took. Fails when one failed, after the others have run.
# usage: groups.sh [--beside COMMAND] GROUP...
# A GROUP is a folder of tests/, or `units` for the tests that lie beside the code. The group `container` mostly waits for the next
# minute, and COMMAND builds what the group `project` tests: both run beside the other groups, and `project` after them.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

beside=
if [ "${1:-}" = --beside ]; then
    beside=$2
    shift 2
fi
# The tests of a group mostly wait for child processes, disks and networks: more of them at once than there are cores.
threads=$((4 * $(nproc)))
cargo=(cargo test --workspace --locked --no-fail-fast)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# timed NAME COMMAND...: notes the time that the command took, and the name when it fails.
timed() {
    local name=$1 start=$SECONDS result=ok
    shift
    "$@" || result=FAILED
    printf '%-12s %3d min %02d s  %s\n' \
        "$name" $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)) $result >>"$results/times"
}

units() {
    local suites result=0
    suites=$(basename -s .rs -a engine/tests/*.rs transport/tests/*.rs fixtures/tests/*.rs)
    "${cargo[@]}" --lib --bins $(printf -- '--test %s ' $suites) || result=1
    "${cargo[@]}" --doc || result=1
    return $result
}

group() {
    "${cargo[@]}" --test "$1" -- --test-threads "${2:-$threads}"
}

beside() {
    [ -z "$beside" ] || timed "beside" nice bash -c "$beside"
    for name in "$@"; do
        [ "$name" != container ] || timed container group container 16
    done
}

timed build "${cargo[@]}" --no-run
beside "$@" >"$results/beside" 2>&1 &
for name in "$@"; do
    case $name in
        units) timed units units ;;
        container | project) ;;
        *) timed "$name" group "$name" ;;
    esac
done
wait
cat "$results/beside"
for name in "$@"; do
    [ "$name" != project ] || timed project group project
done

echo
cat "$results/times"
! grep -q 'FAILED$' "$results/times"
