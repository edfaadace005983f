#!/usr/bin/env bash
# Writes the lock files of the image from pyproject.toml, every package with its hashes. Needs uv.
#   gpu.lock, cpu.lock  what the server imports; the index is searched on the processor in both.
#                       DeepSpeed is apart, because building it needs the rest installed.
#                       The CPU lock leaves torch out: its CPU build comes from another index, or from a folder.
#   torch-cpu.txt       that build of torch
#   deepspeed.lock      DeepSpeed, built with its shared-memory operator
#   demo.lock           what building the demo index needs besides
#   builder-gpu.lock, builder-cpu.lock   what building an index needs besides, with Faiss for GPUs in the first
#   sbom.lock           what lists the image's parts and licences; not part of the image
set -euo pipefail
cd "$(dirname "$0")/../.."
locks=container/requirements

common=(--quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header)
pins() { grep --only-matching --extended-regexp '^[a-z0-9-]+==' "$1" | tr -d '='; }
leave_out() { for package in "$@"; do printf -- '--no-emit-package\n%s\n' "$package"; done; }
resolve() { uv pip compile "${common[@]}" "$@"; }

resolve pyproject.toml --extra server --extra cpu --extra otel --no-emit-package deepspeed --output-file $locks/gpu.lock
mapfile -t without_torch < <(leave_out deepspeed $(pins $locks/gpu.lock | grep -E '^(torch|triton|cuda-.*|nvidia-.*)$'))
resolve pyproject.toml --extra server --extra cpu --extra otel "${without_torch[@]}" --output-file $locks/cpu.lock
mapfile -t without_cpu < <(leave_out $(pins $locks/cpu.lock))
resolve pyproject.toml --extra index --extra cpu --extra demo --constraint $locks/cpu.lock \
    "${without_torch[@]}" "${without_cpu[@]}" --output-file $locks/demo.lock
for flavor in gpu cpu; do
    mapfile -t without_server < <(leave_out $(pins $locks/$flavor.lock))
    resolve pyproject.toml --extra index --extra ray --extra $flavor --constraint $locks/cpu.lock \
        "${without_torch[@]}" "${without_server[@]}" --output-file $locks/builder-$flavor.lock
done
grep --only-matching '"deepspeed==[^"]*' pyproject.toml | tr -d '"' | resolve - --no-deps --output-file $locks/deepspeed.lock
grep --only-matching '^torch==[^ ]*' $locks/gpu.lock | sed 's/$/+cpu/' >$locks/torch-cpu.txt
sed -n '/^sbom = \[/,/^\]/s/^ *"\([^"]*\)".*/\1/p' pyproject.toml | resolve - --output-file $locks/sbom.lock
