"""What a request must satisfy before it is queued, and the sequences it becomes."""

from __future__ import annotations

from collections.abc import Sequence

from server.engine.limits import Limits
from server.engine.sequence import CHAT, GenerateSequence, ScoreRequest, ScoreSequence
from server.engine.text_windows import MIN_OVERLAP_TOKENS, can_split, text_windows
from server.engine.token_tree import TokenTree
from server.errors import ErrorCode, ServiceError
from server.wire import Generate, Score


class Admission:
    """Turns messages into sequences, or refuses those that could never run.

    `windows` are the models' windows in tokens, `capacities` the tokens their pools hold.
    """

    def __init__(self, windows: dict[str, int], capacities: dict[str, int], limits: Limits) -> None:
        self._windows = windows
        self._capacities = capacities
        self._limits = limits

    def generate(self, message: Generate, now: float) -> GenerateSequence:
        """A sequence that fits whatever it samples. Raises ServiceError INVALID_FIELD or PROMPT_TOO_LONG."""
        limit = min(self._windows[CHAT], self._capacities[CHAT])
        found, wanted = len(message.prompt), message.sampling.max_new_tokens
        if not found:
            raise _invalid("prompt", "prompt has no tokens, at least one is needed.")
        if wanted < 1:
            raise _invalid("max_new_tokens", f"max_new_tokens={wanted}: at least 1 is legal.")
        if found + 1 > limit:
            raise _too_long("prompt", f"prompt has {found} tokens; at most {limit - 1} leave room for a reply token.")
        return GenerateSequence(
            request_id=message.request_id,
            model=CHAT,
            tokens=list(message.prompt),
            sampling=message.sampling,
            num_prompt_tokens=found,
            max_new_tokens=min(wanted, limit - found),
            arrival=now,
            deadline=None if message.deadline_s is None else now + message.deadline_s,
        )

    def score(self, message: Score, now: float) -> ScoreRequest:
        """One sequence a window. Raises ServiceError INVALID_FIELD or PROMPT_TOO_LONG."""
        if message.model == CHAT or message.model not in self._windows:
            legal = ", ".join(sorted(set(self._windows) - {CHAT})) or "none is loaded"
            raise _invalid("model", f"model={message.model!r} does not classify; legal: {legal}.")
        tree = self._tree(message.candidates)
        if not message.prefix and not message.text and not message.closing:
            raise _invalid("text", "prefix, text and closing have no tokens, at least one is needed.")
        room = self._text_room(message, tree)
        if len(message.text) > room and not can_split(room):
            raise _too_long(
                "text",
                f"text has {len(message.text)} tokens; prefix and closing leave {room} a window of {message.model!r}, "
                f"and overlapping windows need at least {2 * MIN_OVERLAP_TOKENS}.",
            )
        return _score_request(message, tree, text_windows(message.text, room), now)

    def _tree(self, candidates: Sequence[tuple[int, ...]]) -> TokenTree:
        try:
            tree = TokenTree(candidates)
        except ValueError as error:
            raise _invalid("candidates", str(error)) from error
        most = self._limits.max_score_tail_tokens - 1
        if tree.num_tokens > most:
            raise _invalid("candidates", f"candidates need {tree.num_tokens} tokens in one step, at most {most} fit.")
        return tree

    def _text_room(self, message: Score, tree: TokenTree) -> int:
        """Text tokens a window has room for, by positions and by blocks; may be negative."""
        around = len(message.prefix) + len(message.closing)
        by_position = self._windows[message.model] - around - tree.max_depth
        return min(by_position, self._capacities[message.model] - around - tree.num_tokens)


def _score_request(message: Score, tree: TokenTree, texts: list[tuple[int, ...]], now: float) -> ScoreRequest:
    deadline = None if message.deadline_s is None else now + message.deadline_s
    request = ScoreRequest(
        request_id=message.request_id, model=message.model, tree=tree, arrival=now, deadline=deadline
    )
    request.sequences = [
        ScoreSequence(
            request_id=message.request_id,
            model=message.model,
            tokens=[*message.prefix, *text, *message.closing],
            request=request,
            num_prefix_tokens=len(message.prefix),
        )
        for text in texts
    ]
    return request


def _invalid(field: str, message: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_FIELD, message, field=field)


def _too_long(field: str, message: str) -> ServiceError:
    return ServiceError(ErrorCode.PROMPT_TOO_LONG, message, field=field)
