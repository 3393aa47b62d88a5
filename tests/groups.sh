#!/bin/bash
# Runs groups of tests one after the other and prints how long each took. Fails when one failed, after the others have run.
# usage: groups.sh GROUP...        a GROUP is a folder of tests/, or `units` for everything that lies beside the code
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The tests of a group mostly wait for child processes, disks and networks: more of them than cores.
threads=$((4 * $(nproc)))
cargo=(cargo test --workspace --locked --no-fail-fast)
times=()
failed=()

timed() {
    local name=$1 start=$SECONDS
    shift
    "$@" || failed+=("$name")
    times+=("$(printf '%-12s %3d min %02d s' "$name" $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)))")
}

units() {
    local suites result=0
    suites=$(basename -s .rs -a engine/tests/*.rs transport/tests/*.rs fixtures/tests/*.rs)
    "${cargo[@]}" --lib --bins $(printf -- '--test %s ' $suites) || result=1
    "${cargo[@]}" --doc || result=1
    return $result
}

timed build "${cargo[@]}" --no-run
for group in "$@"; do
    case $group in
        units) timed units units ;;
        container) timed container "${cargo[@]}" --test container -- --test-threads 16 ;;
        *) timed "$group" "${cargo[@]}" --test "$group" -- --test-threads "$threads" ;;
    esac
done

printf '%s\n' "" "${times[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
fi
