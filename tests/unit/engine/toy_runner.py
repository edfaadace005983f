"""A model without weights whose every output depends on exactly what a real one's would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from server.engine.schedule.step import ModelStep, Segment, Step, pending_token
from server.engine.schedule.step_plan import ReplyRows, StepPlan, verified

VOCAB = 97
BAD = 1000  # a token that makes what it and all behind it compute no number

State = int | None  # None: not a number


def state_of(token: int, position: int, visible: Iterable[State]) -> State:
    """What a token's slot holds: a hash of the token, its position and every state it sees."""
    seen = tuple(visible)
    return None if token == BAD or None in seen else hash((token, position, seen))


def solo_states(tokens: Iterable[int]) -> list[State]:
    """The states of a sequence computed alone, without blocks."""
    states: list[State] = []
    for position, token in enumerate(tokens):
        states.append(state_of(token, position, states))
    return states


def next_token(state: State, vocab: int = VOCAB) -> int | None:
    """The toy's greedy choice. Of few tokens it repeats itself now and then."""
    return None if state is None else state % vocab


def log_prob(state: State, token: int) -> float:
    """The toy's log-probability of `token` after a token with `state`."""
    return float("nan") if state is None else -(hash((state, token)) % 10_007) / 1000.0 - 0.001


def solo_reply(prompt: tuple[int, ...], num_tokens: int, vocab: int = VOCAB) -> list[int]:
    """What greedy decoding alone gives."""
    states = solo_states(prompt)
    reply: list[int] = []
    for _ in range(num_tokens):
        token = next_token(states[-1], vocab)
        assert token is not None, prompt
        reply.append(token)
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
        self._slots: dict[str, dict[int, State]] = {model: {} for model in block_tokens}

    def run(self, step: Step, sampled: Sequence[int] = ()) -> dict[str, list[State]]:
        """The state of each row whose logits are wanted, by model, in segment order; `sampled` by the step before."""
        return {each.model: self._run_model(each, sampled) for each in step.model_steps}

    def _run_model(self, step: ModelStep, sampled: Sequence[int]) -> list[State]:
        self._refuse_shared_writes(step)
        return [state for segment in step.segments for state in self._run_segment(step.model, segment, sampled)]

    def _run_segment(self, model: str, segment: Segment, sampled: Sequence[int]) -> list[State]:
        assert segment.tokens, "a segment without tokens"
        slots = self._slots[model]
        seen = [*range(segment.num_context), *segment.ancestors]
        visible = [slots[self._slot(model, segment, entry)] for entry in seen]
        states: list[State] = []
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


def toy_results(
    plan: StepPlan, states: dict[str, list[State]], vocab: int = VOCAB
) -> tuple[list[list[int] | None], list[list[float]]]:
    """`replies` and `gathered` for `Scheduler.settle`."""
    sampled = [
        _verified(rows, [next_token(state, vocab) for state in states.get("chat", ())]) for rows in plan.reply_rows
    ]
    gathered = [
        [log_prob(states[rows.model][row], token) for row, token in zip(rows.rows, rows.token_ids, strict=True)]
        for rows in plan.score_rows
    ]
    return sampled, gathered


def _verified(rows: ReplyRows, sampled: list[int | None]) -> list[int] | None:
    tokens = verified(rows.draft, sampled[rows.first_row : rows.first_row + rows.num_rows])
    known = [token for token in tokens if token is not None]
    return known if len(known) == len(tokens) else None
