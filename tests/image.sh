#!/bin/bash
# Builds the shipped image for the tests, with `docker compose` or `docker-compose`. A second call takes it from the cache.
# Most of the optimisation is left out, because it takes minutes and changes no behaviour.
# usage: image.sh [FOLDER]      copies the image's binary to FOLDER/ARCH-unknown-linux-gnu/release, as cargo lays it out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Calls at the same time would compile the same sources at the same time.
exec 9<tests/image.sh
flock 9

bash tests/base-images.sh
compose=(docker-compose)
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
fi
"${compose[@]}" -f docker-compose.yml build \
    --build-arg CARGO_PROFILE_RELEASE_LTO=off \
    --build-arg CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    --build-arg CARGO_PROFILE_RELEASE_OPT_LEVEL=0

if [ -n "${1:-}" ]; then
    release=$1/$(uname -m)-unknown-linux-gnu/release
    container=$(docker create ism1/backup_manager)
    mkdir -p "$release"
    docker cp "$container:/usr/local/bin/backup_manager" "$release/"
    docker rm "$container" >/dev/null
fi
