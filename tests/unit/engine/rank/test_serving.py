"""What a rank does between loading and serving."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from server.config import Settings
from server.dtypes import DTYPES
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank
from server.engine.rank.loaded_models import GroupModel
from server.engine.rank.serve import Serving
from server.wire import CHAT, INPUT_MODERATION
from tests.unit.engine.tiny_models import VOCAB_SIZE, make_model

RANK = Rank(0, 1, torch.device("cpu"))


def serving(models: dict[str, Any]) -> Serving:
    return Serving(Settings.model_validate({"chat_model": "somewhere", "max_running": 7}), RANK, 0, models)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_pool_of_one_block_is_enough_to_warm_up(dtype: str) -> None:
    pool = PoolShape(1, 256)
    runner = ModelRunner(make_model("neox").to(torch_dtype(DTYPES[dtype])), DTYPES[dtype], RANK.device)
    runner.allocate(pool)
    model = GroupModel(CHAT, Path("somewhere"), 256, vocab_size=VOCAB_SIZE, pool=pool, runner=runner)
    serving({CHAT: model}).warm_up()


def test_decode_steps_of_all_models_are_recorded_before_requests_come() -> None:
    recorded: list[tuple[str, int]] = []

    def model(name: str) -> SimpleNamespace:
        return SimpleNamespace(runner=SimpleNamespace(record_decodes=lambda rows: recorded.append((name, rows))))

    serving({name: model(name) for name in (CHAT, INPUT_MODERATION)}).record_decodes()
    assert recorded == [(CHAT, 7), (INPUT_MODERATION, 7)]
