#!/bin/bash
# Runs a command beside a container engine: the one that answers, else a dockerd of its own, which ends with the command.
# usage: engine.sh FOLDER COMMAND...      FOLDER keeps the images of that dockerd from one call to the next
# Where neither can be had the command runs all the same; its tests skip what needs an engine.
set -euo pipefail
folder=$1
shift
export PATH=$PATH:/usr/sbin:/sbin

if docker info >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || ! command -v dockerd >/dev/null; then
    exec "$@"
fi

# Two checkouts that test at the same time would end each other's engine: the second one waits.
exec 9>/run/lock/backup_manager-test-engine
flock 9
if docker info >/dev/null 2>&1; then
    exec 9>&-
    exec "$@"
fi

mkdir -p "$folder"
log=$folder/dockerd.log
# In its own mount namespace: a container with all of / has the mounts of its engine, and a disk that a test unmounts would
# stay busy as long as the container runs.
unshare --mount --propagation private dockerd --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" \
    >"$log" 2>&1 </dev/null 9>&- &
engine=$!

finish() {
    docker ps -aq 2>/dev/null | xargs -r docker rm -fv >/dev/null 2>&1 || true
    # The stages of earlier builds, more than a gigabyte each; those of today are the cache of the next one.
    docker image prune -f --filter until=24h >/dev/null 2>&1 || true
    kill "$engine" 2>/dev/null || true
    wait "$engine" 2>/dev/null || true
}
trap finish EXIT

for _ in $(seq 300); do
    if docker info >/dev/null 2>&1; then
        break
    fi
    if ! kill -0 "$engine" 2>/dev/null; then
        echo "dockerd ended, see $log" >&2
        tail -n 5 "$log" >&2
        break
    fi
    sleep 0.1
done
"$@" 9>&-
