from __future__ import annotations

from pathlib import Path

import pytest

from container.machine import MIB, Gpu, Machine, look_at_machine
from container.preflight import check_machine
from container.refusal import Refusal
from container.segments import SEGMENT_BYTES
from server.config import Settings

A10G = Gpu("NVIDIA A10G", 23028 * MIB, "580.95.05")


def fake_nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gpus_are_read_from_the_driver_s_own_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 'NVIDIA A10G, 23028, 580.95.05'; echo 'NVIDIA A10G, 23028, 580.95.05'")
    assert look_at_machine().gpus == (A10G, A10G)


def test_a_driver_without_a_gpu_for_this_container_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvidia_smi(tmp_path, monkeypatch, "echo 'No devices were found'; exit 6")
    assert look_at_machine().gpus == ()


def machine(*, cores: int = 2, shm: int = 1024 * MIB, gpus: tuple[Gpu, ...] = ()) -> Machine:
    return Machine(cores, 16 * 1024 * MIB, shm, gpus)


def settings(**values: object) -> Settings:
    return Settings.model_validate({"host": "127.0.0.1", "port": 1024 + 40000, **values})


def test_cpu_ranks_need_a_segment_each() -> None:
    two = settings(tensor_parallel_degree=2)
    assert check_machine(two, machine(shm=2 * SEGMENT_BYTES), "cpu") == []
    with pytest.raises(Refusal, match=r"/dev/shm has 131 MiB free and 2 CPU ranks need 133 MiB"):
        check_machine(two, machine(shm=2 * SEGMENT_BYTES - MIB), "cpu")


def test_one_cpu_rank_needs_no_shared_memory() -> None:
    assert check_machine(settings(), machine(shm=0), "cpu") == []


def test_more_cpu_ranks_than_cores_is_a_warning() -> None:
    (warning,) = check_machine(settings(tensor_parallel_degree=4), machine(cores=2), "cpu")
    assert "4 ranks share 2 cores" in warning


def test_float16_is_refused_on_cpu() -> None:
    with pytest.raises(Refusal, match="OCK_DTYPE=float16: on CPU the legal values are bfloat16, float32 and int8"):
        check_machine(settings(dtype="float16"), machine(), "cpu")


def test_every_rank_needs_a_gpu_of_its_own() -> None:
    with pytest.raises(Refusal, match="OCK_TENSOR_PARALLEL_DEGREE=4: nvidia-smi shows 2 GPUs"):
        check_machine(settings(tensor_parallel_degree=4), machine(gpus=(A10G, A10G)), "cuda")


def test_gpus_with_little_shared_memory_are_told_to_do_without() -> None:
    (warning,) = check_machine(settings(tensor_parallel_degree=2), machine(shm=64 * MIB, gpus=(A10G, A10G)), "cuda")
    assert "NCCL_SHM_DISABLE=1 is set" in warning
