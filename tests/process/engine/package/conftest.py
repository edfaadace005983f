from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process.engine.engine_group import EngineGroup
from tests.process.engine.package.package_folders import Packaged, package_small


@pytest.fixture(scope="session")
def neox(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    return package_small("neox", tmp_path_factory.mktemp("package-neox"))


@pytest.fixture(scope="session")
def gptj(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    return package_small("gptj", tmp_path_factory.mktemp("package-gptj"))


@pytest.fixture(scope="session")
def group(neox: Packaged, gptj: Packaged, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineGroup]:
    """Two ranks that serve both packages and must find them golden."""
    settings = {"OCK_MODERATION_MODEL": str(gptj.folder), "OCK_DTYPE": "float32", "OCK_GOLDEN": "require"}
    settings |= {"OCK_KV_CACHE_TOKENS": "512"}
    started = EngineGroup(neox.folder, 2, tmp_path_factory.mktemp("run"), **settings)
    try:
        started.wait_ready()
        yield started
    finally:
        started.close()
