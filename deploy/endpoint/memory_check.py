"""Whether the models fit the machines that the endpoint file names, by the container's own plan, before they cost."""

from __future__ import annotations

import json
from typing import Any

from container.machine.facts import MIB
from container.machine.plan import GIB, GPUS, Request, make_plan
from container.machine.shapes import Shape, shape_of
from container.refusal import Refusal
from deploy.aws.api import Aws, Call, Say
from deploy.errors import DeployError
from deploy.specification.endpoint_file import Artifact, EndpointFile
from deploy.specification.instance_types import gpu_of, memory_gib
from server.artifacts.listing import split_uri
from server.config import Settings

_CONFIG = "config.json"
_MODELS = ("chat", "moderation", "output_moderation")


def check_memory(aws: Aws, file: EndpointFile, settings: Settings, say: Say) -> None:
    """Plans every instance type of the file whose memory is known, with the configs here, else those in S3.

    Raises:
        DeployError: the plan does not fit a machine; the sentence has the numbers.
    """
    present = file.artifacts.present()
    configs = {name: _config(aws, present[name]) for name in _MODELS if name in present}
    if "chat" not in configs or None in configs.values():
        say("warning: without the models' config.json, here or in S3, their memory could not be planned")
        return
    for instance_type in (file.instance.type, *file.instance.fallbacks):
        try:
            shapes = [shape_of(f"artifacts.{name}", name, config) for name, config in configs.items() if config]
            if request := _request(instance_type, shapes, settings):
                made = make_plan(request)
                say(f"{instance_type}: {made.num_sequences} full conversations of {made.window} tokens fit at once")
        except Refusal as error:
            raise DeployError(f"instance.type={instance_type!r}: {error}") from error


def _config(aws: Aws, artifact: Artifact) -> dict[str, Any] | None:
    if artifact.folder and (artifact.folder / _CONFIG).is_file():
        return dict(json.loads((artifact.folder / _CONFIG).read_text("utf-8")))
    bucket, prefix = split_uri(artifact.s3)
    answer = aws.find(Call("s3", "GetObject", {"Bucket": bucket, "Key": f"{prefix}{_CONFIG}"}))
    return None if answer is None else dict(json.loads(answer["Body"].read()))


def _request(instance_type: str, shapes: list[Shape], settings: Settings) -> Request | None:
    """None where this product does not know the machine's memory."""
    gpu, host_gib = gpu_of(instance_type), memory_gib(instance_type)
    if gpu is None and host_gib is None:
        return None
    return Request(
        chat=shapes[0],
        moderation=tuple(shapes[1:]),
        world=settings.tensor_parallel_degree,
        dtype=settings.dtype,
        device="cuda" if gpu else "cpu",
        device_name=instance_type,
        device_bytes=GPUS[gpu] * MIB if gpu else (host_gib or 0) * GIB // settings.replicas,
        max_running=settings.max_running,
        max_step_tokens=settings.max_step_tokens,
        max_context_tokens=settings.max_context_tokens,
        kv_cache_tokens=settings.kv_cache_tokens,
    )
