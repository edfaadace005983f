#!/usr/bin/env bash
# Builds the image with docker, or with podman where docker has no daemon, and says how big it is.
# Settings from the environment:
#   FLAVOR          gpu (default) or cpu
#   IMAGE           the tag, openchatkit:$FLAVOR by default
#   BASE_IMAGE      instead of the Dockerfile's; "local" makes one with container/base-image.sh
#   PIP_FIND_LINKS  a folder with the CPU build of torch, instead of downloading it (podman only)
set -euo pipefail
cd "$(dirname "$0")/.."

flavor=${FLAVOR:-gpu}
image=${IMAGE:-openchatkit:$flavor}
arguments=(--platform linux/amd64 --tag "$image" --build-arg "FLAVOR=$flavor")
arguments+=(--build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)")
arguments+=(--build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")

builder=podman
if docker info >/dev/null 2>&1; then builder=docker; fi
# One image in Docker's format: SageMaker refuses an OCI index, which BuildKit's record of provenance makes of it.
# Docker's older builder makes no such record and does not know the flag.
if [ "$builder" = podman ]; then
    arguments+=(--format docker)
elif docker buildx version >/dev/null 2>&1; then
    arguments+=(--provenance=false)
fi
if [ "$builder" = podman ]; then
    # As root without a service manager, as in a build machine's container, podman needs settings of its own.
    if [ "$(id -u)" = 0 ] && [ ! -d /run/systemd/system ]; then
        export CONTAINERS_CONF=${CONTAINERS_CONF:-$PWD/container/containers.conf}
        arguments+=(--isolation chroot --network host)
    fi
    # The machine's certificates, for package registries behind a proxy of its own.
    arguments+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
    if [ -d "${PIP_FIND_LINKS:-}" ]; then
        arguments+=(--build-arg "PIP_FIND_LINKS=$PIP_FIND_LINKS" --volume "$PIP_FIND_LINKS:$PIP_FIND_LINKS:ro")
    fi
fi
if [ "${BASE_IMAGE:-}" = local ]; then
    BASE_IMAGE=localhost/openchatkit-base:bookworm
    container/base-image.sh "$BASE_IMAGE"
fi
if [ -n "${BASE_IMAGE:-}" ]; then arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE"); fi

"$builder" build "${arguments[@]}" .
bytes=$("$builder" image inspect --format '{{.Size}}' "$image")
echo "$image: $((bytes / 1000000)) MB"
