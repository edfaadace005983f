"""A leader over a model that needs no weights: what comes next depends on the last token alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from server import wire
from server.engine.model.runner import Runner
from server.engine.parallel.group import Rank
from server.engine.parallel.sampled_tokens import SampledTokens, resolve
from server.engine.rank.liveness import Watchdog
from server.engine.rank.loop import Leader
from server.engine.rank.replies import ReplyTokenizer
from server.engine.rank.step_channel import StepSender
from server.engine.rank.step_executor import StepExecutor
from server.engine.sampling.sampler import Sampler
from server.engine.schedule.admission import ScheduledModel
from server.engine.schedule.block_pool import BlockPool
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.scheduler import Scheduler
from server.engine.schedule.step import ModelStep, Step

END = 0
CLIENT = b"client"


def byte_tokenizer() -> Tokenizer:
    """A token a byte, and one that ends a reply."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<|endoftext|>": END, **{letter: number for number, letter in enumerate(letters, 1)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    return tokenizer


TOKENIZER = byte_tokenizer()
NUM_TOKENS = TOKENIZER.get_vocab_size()
VOCAB = NUM_TOKENS + 7  # rows of logits that no token belongs to
BAD = NUM_TOKENS - 1  # after which nothing is a number


class MarkovRunner:
    """Fixed logits after each token. It repeats itself a good deal."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(4)
        self.logits = torch.randn(VOCAB, VOCAB, generator=generator) * 3
        self.logits[:, NUM_TOKENS:] = 30.0  # tempting
        self.logits[:, BAD] = -30.0
        self.logits[BAD] = torch.nan
        self.steps: list[Step] = []
        self.sampled: SampledTokens | None = None  # for tokens that are pending

    def run(self, step: Step) -> dict[str, torch.Tensor]:
        self.steps.append(step)
        return {each.model: self._run_model(each) for each in step.model_steps}

    def _run_model(self, step: ModelStep) -> torch.Tensor:
        last = [token for each in step.segments for token in each.tokens[len(each.tokens) - each.num_logits :]]
        token_ids = torch.tensor(last, dtype=torch.long)
        if last and min(last) < 0:
            assert self.sampled is not None
            token_ids = resolve(token_ids, self.sampled.latest)
        return self.logits[token_ids].clone()


class Inbox:
    """Takes what a leader sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, wire.FromEngine]] = []
        self.gone: set[bytes] = set()

    def send(self, client: bytes, message: wire.FromEngine) -> bool:
        self.messages.append((client, message))
        return client not in self.gone

    def of(self, request_id: str) -> list[wire.FromEngine]:
        return [each for _, each in self.messages if getattr(each, "request_id", None) == request_id]

    def text_of(self, request_id: str) -> str:
        return "".join(each.text for each in self.of(request_id) if isinstance(each, wire.Piece))

    def end_of(self, request_id: str) -> wire.FromEngine | None:
        return next((each for each in self.of(request_id) if isinstance(each, wire.Finished | wire.Failed)), None)


def make_leader(
    tmp_path: Path,
    *,
    drafts: bool = False,
    overlaps: bool = False,
    max_running: int = 8,
    wrap: Callable[[MarkovRunner], Runner] = lambda runner: runner,
) -> tuple[Leader, Inbox, MarkovRunner]:
    runner, inbox = MarkovRunner(), Inbox()
    scheduler = Scheduler(
        {"chat": ScheduledModel(BlockPool(200, 8), 512, VOCAB)},
        ScheduleLimits(max_step_tokens=128, max_running=max_running),
        time.monotonic,
        drafts=drafts,
    )
    tokenizer = ReplyTokenizer(TOKENIZER, frozenset({END}), VOCAB)
    runner.sampled = SampledTokens(Rank(0, 1, torch.device("cpu")), overlaps=overlaps)
    executor = StepExecutor(
        wrap(runner),
        runner.sampled,
        StepSender(tmp_path, 0, 1),
        Sampler((END,), tokenizer.textless),
        Watchdog(60.0, "test"),
    )
    welcome = wire.Welcome({}, 1, "float32", 8)
    return Leader(scheduler, executor, inbox, tokenizer, welcome), inbox, runner


def run(leader: Leader) -> None:
    """Until nothing is left to do."""
    for _ in range(5000):
        if leader.is_idle:
            return
        leader.step()
    raise AssertionError("the leader never became idle")
