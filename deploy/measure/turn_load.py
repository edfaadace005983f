"""Load on a server, turn by turn through the client, and what each turn took."""

from __future__ import annotations

import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from deploy.client import ChatClient, Reply

PROMPTS = (
    "Who was Abraham Lincoln?",
    "What is albedo?",
    "Good morning, how are you today?",
    "Tell me about the history of Alabama.",
    "What did Aristotle write about?",
    "Where does the river begin, and where does it end?",
    "How is an axiom different from a theorem?",
    "Thank you, that was a great help.",
)


@dataclass(frozen=True)
class TimedTurn:
    """One answered turn; times in seconds. Without streaming the first text comes with the last."""

    first_text_s: float
    whole_s: float
    reply: Reply


@dataclass(frozen=True)
class Asking:
    """How questions are put.

    Attributes:
        stream: whether the answer is read as it comes.
        parameters: those of POST /invocations, for every turn.
    """

    stream: bool
    parameters: dict[str, Any]

    def turn(self, client: ChatClient, prompt: str) -> TimedTurn:
        """Ask and wait for the end of the answer. Raises ChatError."""
        started = time.perf_counter()
        if not self.stream:
            reply = client.chat(prompt, **self.parameters)
            taken = time.perf_counter() - started
            return TimedTurn(taken, taken, reply)
        first = None
        with client.stream(prompt, **self.parameters) as stream:
            for _ in stream:
                first = first or time.perf_counter() - started
            reply = stream.reply
        taken = time.perf_counter() - started
        return TimedTurn(first or taken, taken, reply)


@dataclass(frozen=True)
class Burst:
    """What some clients, each with one turn under way at a time, got done together."""

    turns: tuple[TimedTurn, ...]
    seconds: float


def burst(open_client: Callable[[], ChatClient], num_clients: int, num_turns: int, asking: Asking) -> Burst:
    """`num_turns` turns in all, each in a session of its own, by `num_clients` clients. Raises ChatError."""
    numbers = itertools.count()
    lock = threading.Lock()

    def work() -> list[TimedTurn]:
        client = open_client()
        done: list[TimedTurn] = []
        while True:
            with lock:
                number = next(numbers)
            if number >= num_turns:
                return done
            client.new_session()
            done.append(asking.turn(client, PROMPTS[number % len(PROMPTS)]))

    started = time.perf_counter()
    with ThreadPoolExecutor(num_clients) as pool:
        each = [pool.submit(work) for _ in range(num_clients)]
        turns = tuple(turn for future in each for turn in future.result())
    return Burst(turns, time.perf_counter() - started)


def summary(bursts: Iterable[Burst]) -> dict[str, float]:
    """The figures of some bursts of the same kind; times in milliseconds."""
    bursts = list(bursts)
    turns = [turn for each in bursts for turn in each.turns]
    seconds = sum(each.seconds for each in bursts)
    return {
        "turns": len(turns),
        "whole_ms_p50": 1000 * statistics.median(turn.whole_s for turn in turns),
        "whole_ms_p95": 1000 * _percentile([turn.whole_s for turn in turns], 0.95),
        "first_text_ms_p50": 1000 * statistics.median(turn.first_text_s for turn in turns),
        "turns_per_s": len(turns) / seconds,
        "completion_tokens_per_s": sum(turn.reply.usage.completion_tokens for turn in turns) / seconds,
        "completion_tokens_per_turn": statistics.mean(turn.reply.usage.completion_tokens for turn in turns),
        "moderated_turns": sum(turn.reply.is_moderated for turn in turns),
    }


def conversation(client: ChatClient, num_turns: int, asking: Asking, report: Callable[[int], None]) -> dict[str, Any]:
    """One session of `num_turns` turns: how its prompts grow, what is reused of them, and what a turn takes.

    Raises:
        ChatError: a turn was refused or failed.
    """
    turns = []
    for number in range(num_turns):
        turns.append(asking.turn(client, PROMPTS[number % len(PROMPTS)]))
        report(number + 1)
    prompts = [turn.reply.usage.prompt_tokens for turn in turns]
    cached = [turn.reply.usage.cached_tokens for turn in turns]
    parts = [turns[start : start + 50] for start in range(0, num_turns, 50)]
    return {
        "turns": num_turns,
        "last_turn": turns[-1].reply.turn,
        "prompt_tokens_max": max(prompts),
        "cached_share": sum(cached) / max(1, sum(prompts)),
        "first_text_ms_p50_by_fifty": [1000 * statistics.median(turn.first_text_s for turn in part) for part in parts],
        "finish_reasons": dict(Counter(turn.reply.finish_reason for turn in turns)),
    }


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
