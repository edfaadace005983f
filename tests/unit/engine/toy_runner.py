"""A model without weights whose every output depends on exactly what a real one's would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.engine.schedule.step import ModelStep, Segment, Step, pending_token
from server.engine.schedule.step_plan import StepPlan, verified

VOCAB = 97


def state_of(token: int, position: int, visible: Iterable[int]) -> int:
    """What a token's slot holds: a hash of the token, its position and every state it sees."""
    return hash((token, position, tuple(visible)))


def solo_states(tokens: Iterable[int]) -> list[int]:
    """The states of a sequence computed alone, without blocks."""
    states: list[int] = []
    for position, token in enumerate(tokens):
        states.append(state_of(token, position, states))
    return states


def next_token(state: int) -> int:
    """The toy's greedy choice."""
    return state % VOCAB


def log_prob(state: int, token: int) -> float:
    """The toy's log-probability of `token` after a token with `state`."""
    return -(hash((state, token)) % 10_007) / 1000.0 - 0.001


def solo_reply(prompt: tuple[int, ...], num_tokens: int) -> list[int]:
    """What greedy decoding alone gives."""
    states = solo_states(prompt)
    reply: list[int] = []
    for _ in range(num_tokens):
        reply.append(next_token(states[-1]))
        states.append(state_of(reply[-1], len(states), states))
    return reply


def solo_log_probs(context: tuple[int, ...], candidates: tuple[tuple[int, ...], ...]) -> tuple[tuple[float, ...], ...]:
    """[candidate][token], each candidate run on its own behind the context."""
    rows = []
    for candidate in candidates:
        states = solo_states((*context, *candidate))[len(context) - 1 :]
        rows.append(tuple(log_prob(state, token) for state, token in zip(states, candidate, strict=False)))
    return tuple(rows)


class ToyRunner:
    """Runs steps over slots of its own, as every rank does over keys and values.

    A slot holds the state of the token written there, so a wrong table, position, visibility or reuse, or a missing
    recomputation, changes every later output of the sequence. Reading a slot nobody wrote is an error.
    """

    def __init__(self, block_tokens: dict[str, int]) -> None:
        self._block_tokens = block_tokens
        self._slots: dict[str, dict[int, int]] = {model: {} for model in block_tokens}

    def run(self, step: Step, sampled: Sequence[int] = ()) -> dict[str, list[int]]:
        """The state of each row whose logits are wanted, by model, in segment order; `sampled` by the step before."""
        return {each.model: self._run_model(each, sampled) for each in step.model_steps}

    def _run_model(self, step: ModelStep, sampled: Sequence[int]) -> list[int]:
        self._refuse_shared_writes(step)
        return [state for segment in step.segments for state in self._run_segment(step.model, segment, sampled)]

    def _run_segment(self, model: str, segment: Segment, sampled: Sequence[int]) -> list[int]:
        assert segment.tokens, "a segment without tokens"
        slots = self._slots[model]
        seen = [*range(segment.num_context), *segment.ancestors]
        visible = [slots[self._slot(model, segment, entry)] for entry in seen]
        states = []
        for offset, token_or_row in enumerate(segment.tokens):
            token = token_or_row if token_or_row >= 0 else sampled[pending_token(token_or_row)]
            states.append(state_of(token, segment.position + offset, visible))
            slots[self._slot(model, segment, segment.entry + offset)] = states[-1]
            visible.append(states[-1])
        return states[len(states) - segment.num_logits :]

    def _slot(self, model: str, segment: Segment, entry: int) -> int:
        size = self._block_tokens[model]
        return segment.blocks[entry // size] * size + entry % size

    def _refuse_shared_writes(self, step: ModelStep) -> None:
        written = [
            self._slot(step.model, segment, segment.entry + offset)
            for segment in step.segments
            for offset in range(len(segment.tokens))
        ]
        assert len(written) == len(set(written)), "two tokens of a step share a slot"


def toy_results(plan: StepPlan, states: dict[str, list[int]]) -> tuple[list[list[int]], list[list[float]]]:
    """`replies` and `gathered` for `Scheduler.settle`."""
    sampled = [
        list(verified(rows.draft, [next_token(states["chat"][rows.first_row + at]) for at in range(rows.num_rows)]))
        for rows in plan.reply_rows
    ]
    gathered = [
        [log_prob(states[rows.model][row], token) for row, token in zip(rows.rows, rows.token_ids, strict=True)]
        for rows in plan.score_rows
    ]
    return sampled, gathered
