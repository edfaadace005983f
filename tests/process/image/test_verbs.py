from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.process.image.podman_cli import IMAGE, podman


def test_the_entry_point_is_in_exec_form_and_the_labels_are_there() -> None:
    config = json.loads(podman("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert config["Entrypoint"] == ["python", "/app/container/serve"]
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert "8080/tcp" in config["ExposedPorts"]
    assert not [name for name in config["Env"] if "SECRET" in name or "TOKEN" in name or "KEY" in name]


def test_version_names_the_parts() -> None:
    lines = podman("run", "--rm", IMAGE, "version").stdout.splitlines()
    versions = dict(line.split(" ", 1) for line in lines)
    assert versions["openchatkit-server"]
    assert "missing" not in versions.values()
    assert {"torch", "deepspeed", "faiss-cpu"} <= versions.keys()


def test_plan_works_offline_for_the_production_models() -> None:
    done = podman("run", "--rm", "--network", "none", IMAGE, "plan", "--gpu", "a10g", "--count", "4")
    assert done.returncode == 0
    assert done.stdout.startswith("4 x a10g, float16\n")
    assert "full sequences of 2048 tokens fit at once" in done.stdout


def test_a_missing_model_is_one_sentence_and_status_2() -> None:
    done = podman("run", "--rm", "--env", "OCK_CHAT_MODEL=/models/none", IMAGE)
    assert done.returncode == 2
    assert done.stderr == "openchatkit: OCK_CHAT_MODEL=/models/none: no such folder\n"


def test_a_taken_port_is_one_sentence_and_status_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        options = ("--network", "host", "--env", f"OCK_PORT={port}", "--env", "OCK_HOST=127.0.0.1")
        done = podman("run", "--rm", *options, IMAGE, "serve")
    assert done.returncode == 2
    where = f"OCK_HOST=127.0.0.1, OCK_PORT={port}"
    assert done.stderr == f"openchatkit: {where}: cannot listen there (Address already in use)\n"


def test_too_little_shared_memory_is_one_sentence_that_says_how_much() -> None:
    done = podman(
        "run",
        "--rm",
        "--shm-size",
        "100m",
        "--env",
        "OCK_TENSOR_PARALLEL_DEGREE=2",
        "--env",
        "OCK_GROUP_TRANSPORT=shm",
        IMAGE,
        "check",
    )
    assert done.returncode == 2
    assert done.stderr.startswith("openchatkit: OCK_GROUP_TRANSPORT=shm: /dev/shm has 100 MiB free")


def test_nothing_is_inside_that_only_building_or_testing_needs(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, shutil, sysconfig;"
        "app = sorted(str(path) for path in pathlib.Path('/app').iterdir());"
        "packages = pathlib.Path(sysconfig.get_path('purelib'));"
        "tools = [name for name in ('g++', 'gcc', 'git', 'pip') if shutil.which(name)];"
        "caches = [path for path in ('/root/.cache', '/var/lib/apt/lists/partial') if os.path.exists(path)];"
        "print(app, tools, caches, (packages / 'torch' / 'test').exists(), (packages / 'pytest').exists())"
    )
    done = podman("run", "--rm", "--user", "0", "--entrypoint", "python", IMAGE, "-c", code)
    app = ["/app/LICENSE", "/app/container", "/app/pyproject.toml", "/app/sbom", "/app/server"]
    assert done.stdout.strip() == f"{app} [] [] False False", done.stderr
