"""Requests for a leader, step by step, and what they took."""

from __future__ import annotations

import random
import time

import msgspec
import torch
from torch import Tensor

from server import wire
from server.engine.bench.quoting import QuotingRunner, quoting_reply
from server.engine.model.runner import Runner
from server.engine.rank.loop import Leader
from server.engine.rank.request_socket import Client
from server.engine.schedule.step import Step

_CLIENT: Client = b"bench"
_CONVERSATION_TOKENS = 1500
_NEXT_QUESTION_TOKENS = 20


class Work(msgspec.Struct, frozen=True):
    """What to time, and when the process that asks for it began."""

    batches: tuple[int, ...]
    prompt_tokens: int
    new_tokens: int
    started_at: float  # time.time()
    repeats: int = 3
    sampling: wire.Sampling = wire.Sampling(do_sample=True, temperature=0.6, top_k=40)  # the seed design's
    quotes: bool = False  # whether replies quote their prompts
    beside: str = ""  # greedy or undrafted: the same, that way, timed in turns with it

    @property
    def greedy(self) -> Work:
        """The same work without chance."""
        return msgspec.structs.replace(self, sampling=wire.Sampling())


class TimedRunner:
    """A runner that adds up its seconds: on a GPU those of the device, which are noted there and wait for nothing."""

    def __init__(self, runner: Runner, device: torch.device) -> None:
        self._runner = runner
        self._on_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._noted: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @property
    def seconds(self) -> float:
        """Of all steps so far; on a GPU, waits for them."""
        for started, ended in self._noted:
            ended.synchronize()
            self._seconds += started.elapsed_time(ended) / 1000
        self._noted.clear()
        return self._seconds

    def run(self, step: Step) -> dict[str, Tensor]:
        """As the runner within."""
        if self._on_gpu:
            return self._run_on_gpu(step)
        started = time.perf_counter()
        logits = self._runner.run(step)
        self._seconds += time.perf_counter() - started
        return logits

    def _run_on_gpu(self, step: Step) -> dict[str, Tensor]:
        started, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        started.record()
        logits = self._runner.run(step)
        ended.record()
        self._noted.append((started, ended))
        return logits


class Recorder:
    """Takes the messages that would go to a client, and notes when."""

    def __init__(self) -> None:
        self.first_at: dict[str, float] = {}
        self.num_tokens: dict[str, int] = {}
        self.num_finished = 0

    def send(self, client: Client, message: wire.FromEngine) -> bool:
        """Note pieces and ends. Raises RuntimeError for a refusal."""
        del client
        if isinstance(message, wire.Piece):
            self.first_at.setdefault(message.request_id, time.perf_counter())
            self.num_tokens[message.request_id] = message.num_tokens
        elif isinstance(message, wire.Finished):
            self.first_at.setdefault(message.request_id, time.perf_counter())  # none of its tokens may have text
            self.num_tokens[message.request_id] = message.num_new_tokens
            self.num_finished += 1
        elif isinstance(message, wire.Failed):
            raise RuntimeError(f"the engine refused a request: {message.message}")
        return True


class Driver:
    """Runs batches of random prompts through a leader."""

    def __init__(self, leader: Leader, recorder: Recorder, runner: TimedRunner, vocab_size: int) -> None:
        self.quoting: QuotingRunner | None = None
        self._leader = leader
        self._recorder = recorder
        self._runner = runner
        self._random = random.Random(0)
        self._vocab_size = vocab_size
        self._num_requests = 0

    def first_token(self, work: Work) -> float:
        """Seconds from the start of the benchmark to the first token of the first reply."""
        request = self._ask(self._prompt(work.prompt_tokens), 2, work)
        while request not in self._recorder.first_at:
            self._leader.step()
        seconds = time.time() - work.started_at
        self._finish()
        return seconds

    def second_turn(self, window: int, work: Work) -> dict[str, float] | None:
        """Time to first token of a long conversation's first turn, and of the next; None if the window is short."""
        if window < _CONVERSATION_TOKENS + 64:
            return None
        conversation = self._prompt(_CONVERSATION_TOKENS)
        first_s = self._time_to_first(conversation, work)
        second_s = self._time_to_first((*conversation, *self._prompt(_NEXT_QUESTION_TOKENS)), work)
        return {"tokens": len(conversation), "first_s": first_s, "second_s": second_s, "fraction": second_s / first_s}

    def run(self, batch: int, work: Work) -> dict[str, float]:
        """`batch` requests at once."""
        started = time.perf_counter()
        requests = [self._ask(self._prompt(work.prompt_tokens), work.new_tokens, work) for _ in range(batch)]
        first_at = self._recorder.first_at
        while not all(request in first_at for request in requests):
            self._leader.step()
        prefilled = max(first_at[request] for request in requests)
        tokens_before = sum(self._recorder.num_tokens[request] for request in requests)
        forward_before = self._runner.seconds
        decode_started, cpu_started = time.perf_counter(), time.process_time()
        self._finish()
        decode_s = max(time.perf_counter() - decode_started, 1e-9)
        cpu_s = max(time.process_time() - cpu_started, 1e-9)
        decoded = sum(self._recorder.num_tokens[request] for request in requests) - tokens_before
        if not decoded:
            raise RuntimeError(
                f"no token of {batch} replies had text before they ended, so prompts and replies cannot be told apart: "
                "time another model, or more --new-tokens"
            )
        return {
            "batch": batch,
            "prefill_tokens_per_s": batch * work.prompt_tokens / (prefilled - started),
            "decode_tokens_per_s": decoded / decode_s,
            "decode_tokens_per_cpu_s": decoded / cpu_s,  # of rank 0; where others compute too it spins meanwhile
            "time_to_first_token_s": min(first_at[request] for request in requests) - started,
            "step_overhead_fraction": 1 - (self._runner.seconds - forward_before) / decode_s,
        }

    def _time_to_first(self, prompt: tuple[int, ...], work: Work) -> float:
        started = time.perf_counter()
        request = self._ask(prompt, 2, work)
        self._finish()
        return self._recorder.first_at[request] - started

    def _ask(self, prompt: tuple[int, ...], new_tokens: int, work: Work) -> str:
        self._num_requests += 1
        request_id = f"bench-{self._num_requests}"
        if self.quoting is not None:
            self.quoting.expect(prompt, quoting_reply(prompt, new_tokens, self._random))
        # The first token that ends a reply must not end the measurement.
        sampling = msgspec.structs.replace(
            work.sampling, max_new_tokens=new_tokens, seed=self._num_requests, ignore_eos=True
        )
        self._leader.take(_CLIENT, wire.Generate(request_id, prompt, sampling))
        return request_id

    def _finish(self) -> None:
        while self._recorder.num_finished < self._num_requests:
            self._leader.step()

    def _prompt(self, num_tokens: int) -> tuple[int, ...]:
        return tuple(self._random.randrange(self._vocab_size // 2, self._vocab_size) for _ in range(num_tokens))


def best_of(runs: list[dict[str, float]]) -> dict[str, float]:
    """The best of some runs, each figure on its own."""
    lowest = ("time_to_first_token_s", "step_overhead_fraction")
    best = {name: min(run[name] for run in runs) for name in lowest}
    best.update({name: max(run[name] for run in runs) for name in runs[0] if name not in lowest})
    return best
