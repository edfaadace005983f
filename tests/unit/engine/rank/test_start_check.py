"""A family that nothing proves is not served on several ranks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from server.config import Settings
from server.engine.rank.start_check import StartCheck
from server.engine.weights.sources import WeightsError


def settings_of(folder: Path, model_type: str, world: int) -> Settings:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return Settings.model_validate({"chat_model": str(folder), "tensor_parallel_degree": world})


def test_an_unknown_family_on_several_ranks_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"model_type 'phi' is none of gpt_neox, gptj, llama.*needs golden data"):
        StartCheck(settings_of(tmp_path, "phi", 2))


@pytest.mark.parametrize(("model_type", "world"), [("phi", 1), ("llama", 2)])
def test_one_rank_or_a_known_family_goes_on(tmp_path: Path, model_type: str, world: int) -> None:
    StartCheck(settings_of(tmp_path, model_type, world))
