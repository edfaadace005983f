"""Several replies to one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec

from server.chat.records.turn_records import TurnRequest, TurnResult
from server.web.call.exchange import Exchange
from server.web.call.front import Front


def choices(turn: TurnRequest, count: int) -> list[TurnRequest]:
    """`turn` so often, each with an id of its own and, where the request names a seed, the next one."""
    return [_choice(turn, index) for index in range(count)]


def answer_choices(front: Front, exchange: Exchange, turns: Sequence[TurnRequest]) -> list[TurnResult]:
    """Their answers, in order, made side by side. Raises ServiceError when one fails."""
    exchange.reserve(turns)
    answer = partial(front.services.turns.answer, has_left=exchange.client_has_left)
    if len(turns) == 1:
        results = [answer(turns[0])]
    else:
        results = [each.result() for each in front.lists.submit([partial(answer, turn) for turn in turns])]
    for result in results:
        exchange.note_result(result)
    return results


def _choice(turn: TurnRequest, index: int) -> TurnRequest:
    if index == 0:
        return turn
    seed = turn.sampling.seed
    sampling = turn.sampling if seed is None else msgspec.structs.replace(turn.sampling, seed=_next(seed, index))
    return msgspec.structs.replace(turn, request_id=f"{turn.request_id}.{index}", sampling=sampling)


def _next(seed: int, index: int) -> int:
    """`seed` + `index`, back to the least seed after the largest."""
    return (seed + index + 2**63) % 2**64 - 2**63
