"""Puts one rank together: group, models, warm-up, and on rank 0 the scheduler and the socket."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import distributed as dist

from server import wire
from server.config import Settings
from server.engine.model.runner import GroupRunner
from server.engine.parallel.group import Rank, join, pick_device
from server.engine.parallel.placement import keep_to_own_cores
from server.engine.parallel.sampled_tokens import SampledTokens
from server.engine.rank.liveness import Watchdog
from server.engine.rank.loaded_models import GroupModel, load_models
from server.engine.rank.loop import Leader, Outlet, lead
from server.engine.rank.replies import ReplyTokenizer
from server.engine.rank.request_socket import RequestSocket
from server.engine.rank.start_check import StartCheck
from server.engine.rank.step_channel import StepReceiver, StepSender
from server.engine.rank.step_executor import StepExecutor, follow
from server.engine.sampling.sampler import Sampler
from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.engine.schedule.sequence import CHAT
from server.engine.schedule.step import ModelStep, Segment, Step
from server.engine.weights.checkpoint_check import CONFIG, GENERATION_CONFIG, end_tokens
from server.engine.weights.checkpoint_files import read_json
from server.engine.weights.golden import GoldenError


class Serving:
    """A rank that is ready to serve."""

    def __init__(self, settings: Settings, rank: Rank, attempt: int, models: dict[str, GroupModel]) -> None:
        self._settings = settings
        self._rank = rank
        self._attempt = attempt
        self._models = models
        overlaps = settings.overlap == "on" or (settings.overlap == "auto" and rank.device.type == "cuda")
        self._sampled_tokens = SampledTokens(rank, overlaps=overlaps)
        self._runner = GroupRunner({name: model.runner for name, model in models.items()}, self._sampled_tokens)
        self._watchdog = Watchdog(settings.step_timeout_s, f"engine rank {rank.rank}")

    @classmethod
    def start(cls, settings: Settings, rank: int, attempt: int) -> Serving:
        """Join the group, load every model, and run a real forward pass of each on every rank.

        Raises:
            WeightsError: a checkpoint that cannot be loaded, or a packaged file that is damaged.
            GoldenError: a packaged model does not say what it should, or any one gives logits that are not finite.
        """
        check = StartCheck(settings)
        world = settings.tensor_parallel_degree
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        device = pick_device(settings.device, rank, world)
        shared_memory = settings.group_transport != "socket"
        place = join(
            rank, world, attempt, device=device, timeout_s=settings.start_timeout_s, shared_memory=shared_memory
        )
        if place.device.type == "cpu":  # before anything starts threads of its own
            keep_to_own_cores(rank, world, torch.get_num_threads())
        check.check_files(place)
        models = load_models(settings, place)
        serving = cls(settings, place, attempt, models=models)
        serving.warm_up()
        check.check_answers(models)
        serving.record_decodes()
        dist.barrier()
        return serving

    @property
    def world(self) -> int:
        """Ranks in the group."""
        return self._rank.world

    def warm_up(self) -> None:
        """One prompt chunk and one decode through every model."""
        for number, (tokens, start) in enumerate((((1, 2, 3), 0), ((4,), 3))):
            steps = tuple(
                ModelStep(name, (Segment.of(tokens, tuple(range(min(4, model.pool.num_blocks))), start, num_logits=1),))
                for name, model in self._models.items()
            )
            for name, logits in self._runner.run(Step(number, steps)).items():
                if not torch.isfinite(logits).all():
                    raise GoldenError(f"model {name!r} gives logits that are not finite; OCK_DTYPE may be too narrow")

    def record_decodes(self) -> None:
        """On GPUs the decode steps of every model, a classifier's too, before requests need their memory."""
        for model in self._models.values():
            model.runner.record_decodes(self._settings.max_running)

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Lead or follow until told to stop."""
        if not self._rank.leads:
            self._follow()
            return
        followers = StepSender(self._settings.run_dir, self._attempt, self.world)
        socket = RequestSocket(self._settings.engine_address)
        try:
            lead(self._leader(followers, socket), socket, should_stop)
        finally:
            followers.close()
            socket.close()

    def _follow(self) -> None:
        steps = StepReceiver(self._settings.run_dir, self._attempt, self._rank.rank)
        follow(self._runner, self._sampled_tokens, steps, watchdog=self._watchdog)

    def _leader(self, followers: StepSender, outlet: Outlet, *, drafts: bool = True) -> Leader:
        settings, models = self._settings, self._models
        limits = ScheduleLimits(
            max_step_tokens=settings.step_tokens,
            max_running=settings.max_running,
            max_queue=settings.max_queue,
            max_queued_tokens=settings.max_queued_tokens,
        )
        scheduler = Scheduler(
            {name: _scheduled(model) for name, model in models.items()},
            limits,
            clock=time.monotonic,
            drafts=drafts and settings.speculation == "auto" and not self._sampled_tokens.overlaps,
        )
        welcome = wire.Welcome(
            models={name: model.shape for name, model in models.items()},
            world=self.world,
            dtype=settings.dtype,
            max_queue=settings.max_queue,
            max_running=settings.max_running,
        )
        tokenizer = open_tokenizer(models[CHAT].folder, models[CHAT].vocab_size)
        sampler = Sampler(tuple(tokenizer.end_tokens), tokenizer.textless)
        executor = StepExecutor(self._runner, self._sampled_tokens, followers, sampler=sampler, watchdog=self._watchdog)
        return Leader(scheduler, executor, outlet, tokenizer=tokenizer, welcome=welcome)


def _scheduled(model: GroupModel) -> ScheduledModel:
    pool = BlockPool(model.pool.num_blocks, model.pool.block_tokens)
    return ScheduledModel(pool, model.window, model.vocab_size)


def open_tokenizer(folder: Path, vocab_size: int) -> ReplyTokenizer:
    """The tokenizer and end tokens of the checkpoint in `folder`, whose model has `vocab_size` logits."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ends: set[int] = set()
    for name in (GENERATION_CONFIG, CONFIG):
        if (folder / name).is_file():
            ends.update(end_tokens(folder / name, read_json(folder / name)))
    return ReplyTokenizer(tokenizer, frozenset(token for token in ends if 0 <= token < vocab_size), vocab_size)
