#!/usr/bin/env bash
# Makes a local base image, a minimal Debian 12, for building the image where no container registry can be reached.
# Needs root, and podman, runc and debootstrap. Usage: container/base-image.sh [TAG]
set -euo pipefail

tag=${1:-localhost/openchatkit-base:bookworm}
export CONTAINERS_CONF=${CONTAINERS_CONF:-$(cd "$(dirname "$0")" && pwd)/containers.conf}

if podman image exists "$tag"; then
    echo "$tag exists"
    exit 0
fi
for tool in debootstrap runc; do
    type "$tool" >/dev/null 2>&1 || { echo "base-image: $tool is not installed" >&2; exit 2; }
done

# The mirror is the one that this machine's apt uses.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
[ -n "$mirror" ] || { echo "base-image: apt knows no mirror of Debian bookworm" >&2; exit 2; }

root=$(mktemp -d)
trap 'rm -rf "$root" "$root.log"' EXIT
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$root.log" 2>&1 \
    || { tail -n 5 "$root.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/doc/*
tar --directory "$root" --create . | podman import --quiet - "$tag"
