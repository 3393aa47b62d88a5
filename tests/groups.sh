#!/bin/bash
# Runs the tests in groups and prints how long each group took. Fails when one failed, after the others have run.
# usage: groups.sh [--first COMMAND] [--beside COMMAND] GROUP...
# A GROUP is a folder of tests/, `units` for the tests that lie beside the code, or `over-helper` for the tests of `remote` once
# more, through the helper, but for those of other SFTP servers. Three groups run at a time, because tests mostly
# wait. The group `container`, which waits for full minutes, and `project` run beside them. They take longest and so get the
# processor first. The image that `container` tests, and what `project` tests (the COMMAND of --beside), are built from the start:
# while the COMMAND of --first checks the sources, and while the tests are compiled, a processor is often idle.
# When the COMMAND of --first fails, no test runs.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

first= beside=
while [[ ${1:-} == --* ]]; do
    case $1 in
        --first) first=$2 ;;
        --beside) beside=$2 ;;
        *) sed -n 's/^# usage: //p' "$0" >&2 && exit 2 ;;
    esac
    shift 2
done
cargo=(cargo test --workspace --locked --no-fail-fast)
threads=$((2 * $(nproc)))
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# timed NAME COMMAND...: notes the time that the command took, its processor time, and whether it failed.
timed() {
    local name=$1 start=$SECONDS result=ok cpu
    shift
    exec {out}>&1 {err}>&2
    cpu=$(TIMEFORMAT='%U %S'; { time "$@" >&"$out" 2>&"$err"; } 2>&1; exit ${PIPESTATUS[0]}) || result=FAILED
    exec {out}>&- {err}>&-
    printf '%-12s %3d min %02d s  %5.1f min of processor time  %s\n' "$name" $(((SECONDS - start) / 60)) \
        $(((SECONDS - start) % 60)) "$(awk '{ print ($1 + $2) / 60 }' <<<"$cpu")" $result >>"$results/times"
    [ $result = ok ]
}

units() {
    local suites result=0
    suites=$(basename -s .rs -a engine/tests/*.rs transport/tests/*.rs fixtures/tests/*.rs)
    "${cargo[@]}" --lib --bins $(printf -- '--test %s ' $suites) || result=1
    "${cargo[@]}" --doc || result=1
    return $result
}

group() {
    case $1 in
        units) units ;;
        over-helper)
            TEST_REMOTE_HELPER=self "${cargo[@]}" --test remote -- --test-threads "$threads" --skip other_servers::
            ;;
        container) "${cargo[@]}" --test container -- --test-threads 16 ;;
        *) "${cargo[@]}" --test "$1" -- --test-threads "$threads" ;;
    esac
}

# lane GROUP...: one after the other; prints the output of each when it has ended.
lane() {
    local name
    for name in "$@"; do
        timed "$name" group "$name" >"$results/$name" 2>&1
        cat "$results/$name"
    done
}

# Gives the processes of this shell less of the processor than `container` and COMMAND get.
behind() {
    renice -n 4 $BASHPID >/dev/null
}

# has GROUP...: those of them that were asked for.
has() {
    local name
    for name in "$@"; do
        [[ " $asked " != *" $name "* ]] || echo "$name"
    done
}

# prepared NAME COMMAND: runs the command, if there is one, and prints its output when it has ended. Then waits until the tests are
# compiled, and ends the shell if they are not to run.
prepared() {
    if [ -n "$2" ]; then
        timed "$1" bash -c "$2" >"$results/$1" 2>&1
        cat "$results/$1"
    fi
    until [ -e "$results/built" ]; do
        [ ! -e "$results/not-built" ] || exit
        sleep 1
    done
}

# take: prints the next group of the queue, and removes it there.
take() {
    {
        flock 9
        head -n 1 "$results/queue"
        sed -i 1d "$results/queue"
    } 9>"$results/lock"
}

# worker: runs groups of the queue until it is empty.
worker() {
    local name
    while name=$(take) && [ -n "$name" ]; do
        lane "$name"
    done
}

asked=$*
# Long ones first, and durability and backup, which write the most, not beside each other.
known=$(has durability units hostile helper remote backup over-helper)
others=$(for name in "$@"; do [[ " $(echo $known) container project " == *" $name "* ]] || echo "$name"; done)
printf '%s\n' $known $others >"$results/queue"

{
    prepared beside "$beside"
    lane $(has project)
} &
{
    image=
    # Without an engine, the tests are skipped with the reason.
    [ -z "$(has container)" ] || image='! docker info >/dev/null 2>&1 || bash tests/image.sh'
    prepared image "$image"
    lane $(has container)
} &
if [ -z "$first" ] || timed first bash -c "$first"; then
    timed build "${cargo[@]}" --no-run
    touch "$results/built"
    for _ in 1 2 3; do
        { behind; worker; } &
    done
else
    touch "$results/not-built"
fi
wait

printf '\n%s\n' "$(cat "$results/times")"
! grep -q 'FAILED$' "$results/times"
