"""The loop of rank 0: requests in, steps out, results back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from server import wire
from server.engine.rank.replies import Progress, Reply, ReplyTokenizer
from server.engine.rank.request_socket import Client, RequestSocket
from server.engine.rank.step_executor import StepExecutor, StepResults, StepUnderWay
from server.engine.schedule.scheduler import End, Scheduler
from server.engine.schedule.step_plan import ReplyRows, StepPlan
from server.errors import ErrorCode, ServiceError

_STATUS_INTERVAL_S = 0.5
MAX_NONFINITE_IN_A_ROW = 8  # requests; as many without one that ends well, and the group is taken for broken


class Outlet(Protocol):
    """Where messages to clients go."""

    def send(self, client: Client, message: wire.FromEngine) -> bool:
        """Send `message` to `client`; False when it has gone."""


class NotFiniteError(RuntimeError):
    """A rank's device or weights are broken: request after request gets numbers that are not finite."""


class Leader:
    """Requests in, steps out, results back: `take(messages)`, then `step()`, for ever."""

    def __init__(
        self,
        scheduler: Scheduler,
        executor: StepExecutor,
        outlet: Outlet,
        tokenizer: ReplyTokenizer,
        welcome: wire.Welcome,
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._outlet = outlet
        self._tokenizer = tokenizer
        self._welcome = welcome
        self._clients: set[Client] = set()
        self._client_of: dict[str, Client] = {}
        self._replies: dict[str, Reply] = {}
        self._under_way: StepUnderWay | None = None
        self._status_at = 0.0
        self._num_nonfinite_in_a_row = 0

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

        Raises:
            NotFiniteError: too many requests in a row got numbers that are not finite.
        """
        for end in self._scheduler.expire(time.monotonic()):
            self._send_end(end)
        plan = self._scheduler.plan_step()
        queued = None if plan is None else self._queue(plan)
        before, self._under_way = self._under_way, queued
        if before is not None:
            self._settle(before)
        if queued is not None and not self._executor.overlaps:
            self._under_way = None
            self._settle(queued)

    def send_status(self) -> None:
        """Tell every client how it stands, about twice a second."""
        now = time.monotonic()
        if now - self._status_at < _STATUS_INTERVAL_S:
            return
        self._status_at = now
        status = self._scheduler.status()
        for client in tuple(self._clients):
            if not self._outlet.send(client, status):
                self._give_up(client)

    def _give_up(self, client: Client) -> None:
        """A client has gone: nobody waits for what it asked."""
        self._clients.remove(client)
        for request_id in [each for each, asker in self._client_of.items() if asker == client]:
            self._scheduler.cancel(request_id)
            self._forget(request_id)

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
            failed = wire.Failed(message.request_id, error.code, error.message, retry_after_s=error.retry_after_s)
            self._outlet.send(client, failed)
        else:
            self._client_of[message.request_id] = client

    def _admit_reply(self, message: wire.Generate) -> None:
        schema = message.sampling.json_schema
        grammar = None if schema is None else self._tokenizer.grammars.start(schema)
        self._replies[message.request_id] = Reply.to(self._scheduler.add_generate(message), self._tokenizer, grammar)

    def _queue(self, plan: StepPlan) -> StepUnderWay:
        by_reply = [self._replies[each.sequence.request_id].sampling_rows(each) for each in plan.reply_rows]
        return self._executor.queue(plan, [row for rows in by_reply for row in rows])

    def _settle(self, under_way: StepUnderWay) -> None:
        plan, results = under_way.plan, self._executor.results(under_way)
        steps = [self._advance(rows, results) for rows in plan.reply_rows]
        ends = self._scheduler.settle(plan, [progress.tokens for _, progress in steps], results.gathered)
        by_request = {end.request_id: end for end in ends}
        for reply, progress in steps:
            if reply is not None and progress.tokens is not None:
                self._go_on(reply, progress, by_request)
        for end in by_request.values():
            self._send_end(end)
        self._refuse_to_limp()

    def _advance(self, rows: ReplyRows, results: StepResults) -> tuple[Reply | None, Progress]:
        reply = self._replies.get(rows.sequence.request_id)
        if reply is None or reply.sequence is not rows.sequence:
            return None, Progress(None)  # it ended while the step ran
        return reply, reply.advance(rows, results)

    def _go_on(self, reply: Reply, progress: Progress, ends: dict[str, End]) -> None:
        """Send what a step made of a reply; note its end if it stops there."""
        self._send_piece(reply, progress.text)
        request_id = reply.sequence.request_id
        if progress.failed is not None and self._scheduler.finish(reply.sequence, "failed") is not None:
            message = f"json_schema cannot be followed further: {progress.failed}"
            ends[request_id] = wire.Failed(request_id, ErrorCode.INVALID_FIELD, message)
        if not progress.stopped:
            return
        stopped = self._scheduler.finish(reply.sequence, "stop")
        if stopped is None:
            length = ends.get(request_id)
            assert isinstance(length, wire.Finished), length
            stopped = msgspec.structs.replace(length, reason="stop")
        ends[request_id] = stopped

    def _send_piece(self, reply: Reply, text: str) -> None:
        piece = reply.piece(text)
        if piece is not None:
            self._outlet.send(self._client_of[piece.request_id], piece)

    def _send_end(self, end: End) -> None:
        reply = self._replies.get(end.request_id)
        if reply is not None and isinstance(end, wire.Finished):
            self._send_piece(reply, reply.text.finish())
        client = self._client_of.get(end.request_id)
        if client is not None:
            self._outlet.send(client, end)
        self._count(end)
        self._forget(end.request_id)

    def _count(self, end: End) -> None:
        if isinstance(end, wire.Failed) and end.code is ErrorCode.INTERNAL:
            self._num_nonfinite_in_a_row += 1
        elif not isinstance(end, wire.Failed):
            self._num_nonfinite_in_a_row = 0

    def _refuse_to_limp(self) -> None:
        if self._num_nonfinite_in_a_row >= MAX_NONFINITE_IN_A_ROW:
            raise NotFiniteError(
                f"{self._num_nonfinite_in_a_row} requests in a row got numbers that are not finite: weights in memory "
                "or a device are damaged; the group ends, to be started anew"
            )

    def _forget(self, request_id: str) -> None:
        self._replies.pop(request_id, None)
        self._client_of.pop(request_id, None)


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
