from __future__ import annotations

import socket
from pathlib import Path

import pytest

from container.machine.facts import MIB, Gpu, Machine, look_at_machine
from container.machine.preflight import check_machine
from container.machine.shared_memory import SEGMENT_BYTES
from container.refusal import Refusal
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


def test_the_driver_s_branch_is_its_first_number() -> None:
    drivers = ("580.95.05", "1024.1", "[N/A]", "")
    assert [Gpu("x", MIB, driver).driver_branch for driver in drivers] == [580, 1024, None, None]


def machine(*, cores: int = 2, shm: int = 1024 * MIB, gpus: tuple[Gpu, ...] = ()) -> Machine:
    return Machine(cores, 16 * 1024 * MIB, shm, gpus)


def settings(**values: object) -> Settings:
    return Settings.model_validate({"host": "127.0.0.1", "port": 1024 + 40000, **values})


def test_cpu_ranks_need_a_segment_each() -> None:
    two = settings(tensor_parallel_degree=2, group_transport="shm")
    assert check_machine(two, machine(shm=2 * SEGMENT_BYTES), "cpu") == []
    with pytest.raises(Refusal, match=r"/dev/shm has 131 MiB free and the sums of 2 CPU ranks need 133 MiB"):
        check_machine(two, machine(shm=2 * SEGMENT_BYTES - MIB), "cpu")


def test_one_cpu_rank_needs_no_shared_memory() -> None:
    assert check_machine(settings(), machine(shm=0), "cpu") == []


def test_more_cpu_ranks_than_cores_is_a_warning() -> None:
    (warning,) = check_machine(settings(tensor_parallel_degree=4), machine(cores=2), "cpu")
    assert "4 ranks share 2 cores" in warning


def test_float16_is_refused_on_cpu() -> None:
    with pytest.raises(
        Refusal, match="OCK_DTYPE=float16: on CPU the legal values are bfloat16, float32, int8 and int4"
    ):
        check_machine(settings(dtype="float16"), machine(), "cpu")


def test_every_rank_needs_a_gpu_of_its_own() -> None:
    with pytest.raises(Refusal, match="OCK_TENSOR_PARALLEL_DEGREE=4: nvidia-smi shows 2 GPUs"):
        check_machine(settings(tensor_parallel_degree=4), machine(gpus=(A10G, A10G)), "cuda")


def test_the_size_of_dev_shm_decides_nothing_about_gpus() -> None:
    assert check_machine(settings(tensor_parallel_degree=2), machine(shm=64 * MIB, gpus=(A10G, A10G)), "cuda") == []


def test_cpu_ranks_without_room_to_share_sum_over_sockets_unless_that_is_refused() -> None:
    (warning,) = check_machine(settings(tensor_parallel_degree=2), machine(shm=64 * MIB), "cpu")
    assert "/dev/shm has 64 MiB free and the sums of 2 CPU ranks need 133 MiB: the ranks sum over sockets" in warning
    assert check_machine(settings(tensor_parallel_degree=2, group_transport="socket"), machine(shm=0), "cpu") == []
    with pytest.raises(Refusal, match=r"OCK_GROUP_TRANSPORT=shm: .* need 133 MiB: start the container with --shm-size"):
        check_machine(settings(tensor_parallel_degree=2, group_transport="shm"), machine(shm=64 * MIB), "cpu")


def test_a_driver_older_than_torch_needs_is_refused_with_both_numbers() -> None:
    old = Gpu("NVIDIA A10G", 23028 * MIB, "570.133.20")
    with pytest.raises(
        Refusal, match=r"^nvidia-smi shows driver 570\.133\.20, and torch's CUDA 13\.0 needs 580 or later: update"
    ):
        check_machine(settings(), machine(gpus=(old,)), "cuda")


def test_the_least_driver_and_newer_ones_pass() -> None:
    for driver in ("580.65.06", "590.1", "1000.0"):
        assert check_machine(settings(), machine(gpus=(Gpu("NVIDIA A10G", 23028 * MIB, driver),)), "cuda") == []


def test_a_driver_that_gives_no_version_is_refused() -> None:
    with pytest.raises(Refusal, match=r"driver \[N/A\], .* 580"):
        check_machine(settings(), machine(gpus=(Gpu("NVIDIA A10G", 23028 * MIB, "[N/A]"),)), "cuda")


def test_an_old_driver_does_not_matter_to_cpu_ranks() -> None:
    assert check_machine(settings(), machine(gpus=(Gpu("Tesla T4", 15360 * MIB, "470.1"),)), "cpu") == []


def test_a_port_in_use_is_refused_with_the_system_s_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(Refusal, match=rf"^OCK_HOST=127.0.0.1, OCK_PORT={port}: .*\(Address already in use\)$"):
            check_machine(settings(port=port), machine(), "cpu")


def test_a_host_that_is_not_of_this_machine_is_not_called_in_use() -> None:
    with pytest.raises(Refusal, match=r"^OCK_HOST=192\.0\.2\.1, OCK_PORT=.*\(Cannot assign requested address\)$"):
        check_machine(settings(host="192.0.2.1"), machine(), "cpu")
