"""The recipe for a cluster: its file is what Ray takes, its command is one that Ray and the builder understand."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import index_builder
from index_builder.__main__ import parser
from tests import ROOT

BUILDER = Path(index_builder.__file__).parent
CLUSTER = yaml.safe_load((BUILDER / "ray_cluster.yaml").read_text())
README = (BUILDER / "README.md").read_text()


def test_ray_takes_the_clusters_file() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    util.validate_config(util.prepare_config(CLUSTER))
    assert CLUSTER["head_node_type"] in CLUSTER["available_node_types"]


def test_the_cluster_installs_the_version_of_ray_that_is_pinned() -> None:
    (pinned,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["ray"]
    version = pinned.partition("==")[2]
    assert any(f"ray[default]=={version}" in command for command in CLUSTER["setup_commands"])


def test_the_job_is_one_that_ray_and_the_builder_understand() -> None:
    cli = pytest.importorskip("ray.dashboard.modules.job.cli")
    (block,) = re.findall(r"^    ray job submit (?:.*\\\n)*.*$", README, re.MULTILINE)
    words = shlex.split(block.replace("\\\n", " "))[3:]
    context = cli.submit.make_context("submit", list(words), resilient_parsing=True)
    entrypoint = words[words.index("--") + 1 :]
    assert tuple(context.params["entrypoint"]) == tuple(entrypoint)
    assert context.params["address"].startswith("http://127.0.0.1:")
    command = entrypoint[entrypoint.index("index_builder") + 1 :]
    flags = parser().parse_args(command)
    assert (flags.verb, flags.ray) == ("build", "auto")
    assert flags.out.startswith("s3://")
