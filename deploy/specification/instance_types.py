"""What deploy knows of SageMaker's machines: GPUs per instance type, local disks, drivers per machine image."""

from __future__ import annotations

import re

from deploy.errors import DeployError

_GPUS_BY_SIZE = {
    "g4dn": {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 4, "16xlarge": 1},
    "g5": {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "12xlarge": 4, "16xlarge": 1, "24xlarge": 4},
    "p4d": {"24xlarge": 8},
    "p4de": {"24xlarge": 8},
    "p5": {"4xlarge": 1, "48xlarge": 8},
    "p5e": {"48xlarge": 8},
    "p5en": {"48xlarge": 8},
}
_GPUS_BY_SIZE["g5"]["48xlarge"] = 8
_GPUS_BY_SIZE["g6"] = dict(_GPUS_BY_SIZE["g5"])
_GPUS_BY_SIZE["g6e"] = dict(_GPUS_BY_SIZE["g5"])

_GPU_OF_FAMILY = {
    "g4dn": "t4",
    "g5": "a10g",
    "g6": "l4",
    "g6e": "l40s",
    "p4d": "a100-40g",
    "p4de": "a100-80g",
    "p5": "h100",
    "p5e": "h200",
    "p5en": "h200",
}

_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8, "g4dn": 4, "g5": 4, "g6": 4, "g6e": 8, "p4d": 12, "p4de": 12}

_ACCELERATED = ("g", "p", "inf", "trn", "dl")

# InferenceAmiVersion -> the CUDA version its driver supports, oldest first. Those that leave CUDA's compatibility
# libraries of the container alone come before the one that mounts its own over them.
_AMIS = (
    ("al2-ami-sagemaker-inference-gpu-2-1", (12, 2)),
    ("al2-ami-sagemaker-inference-gpu-3-1", (12, 4)),
    ("al2023-ami-sagemaker-inference-gpu-4-1", (13, 0)),
)


def num_gpus(instance_type: str) -> int | None:
    """GPUs of `instance_type`: 0 for a machine without, None where deploy does not know."""
    family, size = _parts(instance_type)
    if not family.startswith(_ACCELERATED):
        return 0
    return _GPUS_BY_SIZE.get(family, {}).get(size)


def gpu_of(instance_type: str) -> str | None:
    """The kind of GPU, by the names of the container's plan; None for a machine without, or one not known here."""
    return _GPU_OF_FAMILY.get(_parts(instance_type)[0])


def memory_gib(instance_type: str) -> int | None:
    """Host memory of `instance_type`; None where deploy does not know."""
    family, size = _parts(instance_type)
    per_vcpu = _GIB_PER_VCPU.get(family) or _GIB_PER_VCPU.get(family[0])
    if per_vcpu is None or not size.endswith("large"):
        return None
    multiple = size.removesuffix("xlarge")
    vcpus = 2 if size == "large" else 4 * int(multiple or 1)
    return vcpus * per_vcpu


def has_local_disk(instance_type: str) -> bool:
    """Whether the instance brings its own NVMe disks, which an endpoint's volume key does not encrypt."""
    family, _ = _parts(instance_type)
    return family in _GPUS_BY_SIZE or re.fullmatch(r"[cmr]\d+[a-z]*d[a-z]*", family) is not None


def ami_for(cuda: str) -> str:
    """The oldest InferenceAmiVersion whose driver supports `cuda` ("12.6"). Raises DeployError when none does."""
    try:
        major, minor = (int(part) for part in cuda.split(".")[:2])
    except ValueError as error:
        raise DeployError(f"image.cuda={cuda!r}: expected MAJOR.MINOR, as in 12.6") from error
    for ami, supported in _AMIS:
        if (major, minor) <= supported:
            return ami
    legal = ", ".join(f"{name} (CUDA {version[0]}.{version[1]})" for name, version in _AMIS)
    raise DeployError(f"image.cuda={cuda!r}: no SageMaker machine image has a driver for it; there are {legal}")


def _parts(instance_type: str) -> tuple[str, str]:
    _, family, size = instance_type.split(".")
    return family, size
