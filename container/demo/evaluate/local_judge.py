"""A moderation model in this process: scheduler and runner of one rank in float32, without the loop around them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.tokenizer import ChatTokenizer
from server.dtypes import DTYPES
from server.engine.model.runner import ModelRunner, PoolShape
from server.engine.parallel.group import Rank
from server.engine.rank.step_executor import gather
from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.engine.weights.load import load_model

_MODEL = wire.INPUT_MODERATION
_BLOCK_TOKENS = 8


class LocalEngine:
    """Scores as the engine group does."""

    def __init__(self, folder: Path) -> None:
        device = torch.device("cpu")
        model = load_model(folder, Rank(0, 1, device), torch.float32)
        window = int(model.config.max_position_embeddings)
        shape = PoolShape(8 * window // _BLOCK_TOKENS, _BLOCK_TOKENS)
        self._runner = ModelRunner(model, DTYPES["float32"], device)
        self._runner.allocate(shape)
        judge = ScheduledModel(BlockPool(shape.num_blocks, _BLOCK_TOKENS), window)
        chat = ScheduledModel(BlockPool(4, 16), 64)
        limits = ScheduleLimits(max_step_tokens=window, max_running=8)
        self._scheduler = Scheduler({_MODEL: judge, wire.CHAT: chat}, limits, time.monotonic)

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        """Log-probabilities of every request's candidates, in order."""
        ends = {}
        for request in requests:
            self._scheduler.add_score(request)
        while (plan := self._scheduler.plan_step()) is not None:
            logits = {each.model: self._runner.run(each) for each in plan.step.model_steps}
            settled = self._scheduler.settle(plan, [], [gather(logits, rows).tolist() for rows in plan.score_rows])
            ends.update({each.request_id: each for each in settled if isinstance(each, wire.Scored)})
        return [ends[request.request_id] for request in requests]


def local_moderator(folder: Path) -> Moderator:
    """A moderator of both roles over the checkpoint of `folder` and the policy that is the default."""
    policy = load_policy()
    classifier = Classifier.of(_MODEL, ChatTokenizer.from_folder(folder), policy)
    return Moderator(LocalEngine(folder), policy, dict.fromkeys(Role, classifier))
