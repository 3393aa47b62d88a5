#!/bin/bash
# Sees to the images that our Dockerfiles begin with: those that are there, else the registry's, else stand-ins of the
# same names, made by the script that STAND_IN_IMAGES names, for machines that reach no registry.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
stand_ins=${STAND_IN_IMAGES:-$here/../shared/docker/stand-in-images}

for image in debian:bookworm-slim rust:1-bookworm; do
    if docker image inspect "$image" >/dev/null 2>&1 || docker pull -q "$image" >/dev/null; then
        continue
    elif [ -x "$stand_ins" ]; then
        exec "$stand_ins"
    else
        echo "$image cannot be pulled, and STAND_IN_IMAGES names no script that makes a stand-in" >&2
        exit 1
    fi
done
