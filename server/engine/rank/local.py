"""A judge's model in this process: scheduler and runner of one rank, without the group and the loop around them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from server import wire
from server.dtypes import Dtype
from server.engine.model.runner import ModelRunner, PoolShape, torch_dtype
from server.engine.parallel.group import Rank
from server.engine.rank.step_executor import gather
from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.engine.weights.load import load_model

_WINDOWS = 8  # this many texts of a whole window have room at once


class LocalEngine:
    """Scores as the engine group does, for recipes and benches."""

    def __init__(self, folder: Path, dtype: Dtype, block_tokens: int = 8) -> None:
        """Load the checkpoint of `folder`, as the model that judges questions. Raises ConfigError as `load_model`."""
        device = torch.device("cpu")
        model = load_model(folder, Rank(0, 1, device), torch_dtype(dtype))
        window = int(model.config.max_position_embeddings)
        shape = PoolShape(_WINDOWS * window // block_tokens, block_tokens)
        self.runner = ModelRunner(model, dtype, device)
        self.runner.allocate(shape)
        judge = ScheduledModel(BlockPool(shape.num_blocks, block_tokens), window)
        chat = ScheduledModel(BlockPool(4, 16), 64)
        limits = ScheduleLimits(max_step_tokens=window, max_running=_WINDOWS)
        self._scheduler = Scheduler({wire.INPUT_MODERATION: judge, wire.CHAT: chat}, limits, time.monotonic)

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        """Log-probabilities of every request's candidates, in order."""
        ends = {}
        for request in requests:
            self._scheduler.add_score(request)
        while (plan := self._scheduler.plan_step()) is not None:
            logits = {each.model: self.runner.run(each) for each in plan.step.model_steps}
            settled = self._scheduler.settle(plan, [], [gather(logits, rows).tolist() for rows in plan.score_rows])
            ends.update({each.request_id: each for each in settled if isinstance(each, wire.Scored)})
        return [ends[request.request_id] for request in requests]
