"""The loop of rank 0, and that of its followers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
import torch
from tokenizers import Tokenizer

from server import wire
from server.engine.model.runner import Runner
from server.engine.model.sampling import Draws, SamplingRow, sample
from server.engine.model.text_stream import TextStream
from server.engine.parallel.sampled_tokens import SampledTokens
from server.engine.parallel.transfer import Readback, to_device
from server.engine.rank.liveness import Watchdog
from server.engine.rank.request_socket import Client, RequestSocket
from server.engine.rank.step_channel import StepReceiver, StepSender
from server.engine.schedule.scheduler import End, Scheduler
from server.engine.schedule.sequence import CHAT, GenerateSequence
from server.engine.schedule.step_plan import ScoreRows, StepPlan
from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

_STATUS_INTERVAL_S = 0.5


class Outlet(Protocol):
    """Where messages to clients go."""

    def send(self, client: Client, message: wire.FromEngine) -> None:
        """Send `message` to `client`."""


@dataclass(frozen=True)
class Reply:
    """What rank 0 keeps of a reply beside its sequence."""

    sequence: GenerateSequence
    text: TextStream
    draws: Draws


@dataclass(frozen=True)
class ReplyTokenizer:
    """The chat model's tokenizer and the tokens that end a reply."""

    tokenizer: Tokenizer
    end_tokens: frozenset[int]


@dataclass(frozen=True)
class UnderWay:
    """A step that every rank has queued, and its results when they are there."""

    plan: StepPlan
    results: Readback  # tokens of `plan.generate_rows`, then the log-probabilities of each of `plan.score_rows`


class Leader:
    """Requests in, steps out, results back: `take(messages)`, then `step()`, for ever."""

    def __init__(
        self,
        scheduler: Scheduler,
        runner: Runner,
        sampled_tokens: SampledTokens,
        followers: StepSender,
        outlet: Outlet,
        tokenizer: ReplyTokenizer,
        welcome: wire.Welcome,
        watchdog: Watchdog,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._sampled_tokens = sampled_tokens
        self._followers = followers
        self._outlet = outlet
        self._tokenizer = tokenizer
        self._welcome = welcome
        self._watchdog = watchdog
        self._clients: set[Client] = set()
        self._client_of: dict[str, Client] = {}
        self._replies: dict[str, Reply] = {}
        self._under_way: UnderWay | None = None
        self._status_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to compute."""
        return self._scheduler.is_idle and self._under_way is None

    def take(self, client: Client, message: wire.ToEngine) -> None:
        """Apply one message of `client`."""
        if isinstance(message, wire.Hello):
            self._clients.add(client)
            self._outlet.send(client, self._welcome)
        elif isinstance(message, wire.Cancel):
            self._scheduler.cancel(message.request_id)
            self._forget(message.request_id)
        else:
            self._admit(client, message)

    def step(self) -> None:
        """Plan, run and settle one step, if there is work.

        When steps overlap, the one planned and queued here is settled by the next call, and what is settled here ran
        while this one was planned.
        """
        for end in self._scheduler.expire(time.monotonic()):
            self._send_end(end)
        plan = self._scheduler.plan_step()
        queued = None if plan is None else self._queue(plan)
        before, self._under_way = self._under_way, queued
        if before is not None:
            self._settle(before)
        if queued is not None and not self._sampled_tokens.overlaps:
            self._under_way = None
            self._settle(queued)

    def send_status(self) -> None:
        """Tell every client how it stands, about twice a second."""
        now = time.monotonic()
        if now - self._status_at < _STATUS_INTERVAL_S:
            return
        self._status_at = now
        status = self._scheduler.status()
        for client in self._clients:
            self._outlet.send(client, status)

    def fail_all(self, why: str) -> None:
        """End everything that is under way: the group stops. What the last step has brought still counts."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            self._settle(under_way)
        for failed in self._scheduler.fail_all(ErrorCode.ENGINE_UNAVAILABLE, why):
            self._send_end(failed)

    def _admit(self, client: Client, message: wire.Generate | wire.Score) -> None:
        try:
            if isinstance(message, wire.Score):
                self._scheduler.add_score(message)
            else:
                self._admit_reply(message)
        except ServiceError as error:
            failed = wire.Failed(message.request_id, error.code, error.message, error.retry_after_s)
            self._outlet.send(client, failed)
        else:
            self._client_of[message.request_id] = client

    def _admit_reply(self, message: wire.Generate) -> None:
        sequence = self._scheduler.add_generate(message)
        text = TextStream(self._tokenizer.tokenizer, message.sampling.stop)
        self._replies[message.request_id] = Reply(sequence, text, Draws(message.sampling.seed))

    def _queue(self, plan: StepPlan) -> UnderWay:
        with self._watchdog:
            self._followers.send(plan.step)
            logits = self._runner.run(plan.step)
            tokens = self._sample(plan, logits)
            self._sampled_tokens.broadcast(tokens)
            gathered = [gather(logits, rows) for rows in plan.score_rows]
            return UnderWay(plan, Readback([tokens, *gathered], self._sampled_tokens.device))

    def _sample(self, plan: StepPlan, logits: dict[str, torch.Tensor]) -> torch.Tensor:
        if not plan.generate_rows:
            return torch.empty(0, dtype=torch.long)
        rows = [self._sampling_row(sequence) for sequence in plan.generate_rows]
        return sample(logits[CHAT], rows, self._sampled_tokens.latest)

    def _sampling_row(self, sequence: GenerateSequence) -> SamplingRow:
        reply = self._replies.get(sequence.request_id)
        draw = reply.draws.next() if reply is not None and sequence.sampling.do_sample else 0.0
        # The last token is the one that is to be sampled.
        token_ids = sequence.tokens[:-1] if sequence.sampling.repetition_penalty != 1.0 else ()
        return SamplingRow(sequence.sampling, token_ids, draw)

    def _settle(self, under_way: UnderWay) -> None:
        plan = under_way.plan
        with self._watchdog:
            tokens, *gathered = under_way.results.values()
        self._end_or_go_on(plan, [int(token) for token in tokens], gathered)

    def _end_or_go_on(self, plan: StepPlan, tokens: list[int], gathered: list[list[float]]) -> None:
        ends = {end.request_id: end for end in self._scheduler.settle(plan, tokens, gathered)}
        for sequence, token in zip(plan.generate_rows, tokens, strict=True):
            reply = self._replies.get(sequence.request_id)
            if reply is None or reply.sequence is not sequence:
                continue  # it ended while the step ran
            if self._write(reply, token):
                stopped = self._scheduler.finish(sequence, "stop")
                length = ends.get(sequence.request_id)
                if stopped is None:
                    assert isinstance(length, wire.Finished), length
                    stopped = msgspec.structs.replace(length, reason="stop")
                ends[sequence.request_id] = stopped
        for end in ends.values():
            self._send_end(end)

    def _write(self, reply: Reply, token: int) -> bool:
        """Send the text that `token` makes certain; whether the reply stops here."""
        if token in self._tokenizer.end_tokens or token in reply.sequence.sampling.stop_token_ids:
            return True
        self._send_piece(reply, reply.text.push(token))
        return reply.text.stopped

    def _send_piece(self, reply: Reply, text: str) -> None:
        if text:
            request_id = reply.sequence.request_id
            self._outlet.send(self._client_of[request_id], wire.Piece(request_id, text, reply.sequence.num_new_tokens))

    def _send_end(self, end: End) -> None:
        reply = self._replies.get(end.request_id)
        if reply is not None and isinstance(end, wire.Finished):
            self._send_piece(reply, reply.text.finish())
        client = self._client_of.get(end.request_id)
        if client is not None:
            self._outlet.send(client, end)
        self._forget(end.request_id)

    def _forget(self, request_id: str) -> None:
        self._replies.pop(request_id, None)
        self._client_of.pop(request_id, None)


def gather(logits: dict[str, torch.Tensor], rows: ScoreRows) -> torch.Tensor:
    """The log-probabilities that a window asks for, from the rows it names."""
    scores = logits[rows.model]
    used = sorted(set(rows.rows))  # several tokens are asked of one row
    place = {row: index for index, row in enumerate(used)}
    at = [place[row] for row in rows.rows]
    used_rows, at_row, token_ids = (to_device(np.array(each), scores.device) for each in (used, at, rows.token_ids))
    picked = scores[used_rows].float()
    return picked[at_row, token_ids] - picked.logsumexp(-1)[at_row]


def lead(leader: Leader, socket: RequestSocket, should_stop: Callable[[], bool]) -> None:
    """Serve until `should_stop`, which is asked once a round, at least twice a second when idle; then fail the rest."""
    while not should_stop():
        if leader.is_idle:
            socket.wait(_STATUS_INTERVAL_S)
        for client, message in socket.receive():
            leader.take(client, message)
        leader.step()
        leader.send_status()
    leader.fail_all("the engine group is stopping; try again in a few seconds")


def follow(runner: Runner, sampled_tokens: SampledTokens, steps: StepReceiver, watchdog: Watchdog) -> None:
    """Run what rank 0 plans until it says stop."""
    while (step := steps.receive()) is not None:
        with watchdog:
            runner.run(step)
            sampled_tokens.receive(step)
