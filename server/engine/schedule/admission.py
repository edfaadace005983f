"""What a request must satisfy before it is queued, and the sequences it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from server.engine.schedule.block_pool import BlockPool, chain_digests
from server.engine.schedule.limits import ScheduleLimits
from server.engine.schedule.sampling_limits import check_sampling
from server.engine.schedule.sequence import CHAT, GenerateSequence, ScoreRequest, ScoreSequence
from server.engine.schedule.text_windows import MIN_OVERLAP_TOKENS, can_split, text_windows
from server.engine.schedule.token_tree import TokenTree
from server.errors import ErrorCode, ServiceError
from server.wire import Generate, Score

_NUM_REMEMBERED = 16


@dataclass(frozen=True)
class ScheduledModel:
    """What the scheduler knows of a model: where its keys and values go, and the bounds of its sequences."""

    pool: BlockPool
    window: int  # tokens
    vocab_size: int = 2**32  # larger token ids are refused; the default refuses none that fit a message


class Admission:
    """Turns messages into sequences, or refuses those that could never run."""

    def __init__(self, models: Mapping[str, ScheduledModel], limits: ScheduleLimits) -> None:
        self._models = models
        self._limits = limits
        # A moderation policy sends the same prefix and candidates with every text.
        self._token_tree = lru_cache(_NUM_REMEMBERED)(TokenTree)
        self._chain_digests = lru_cache(_NUM_REMEMBERED)(chain_digests)

    def generate(self, message: Generate, now: float) -> GenerateSequence:
        """A sequence that fits whatever it samples. Raises ServiceError INVALID_FIELD or PROMPT_TOO_LONG."""
        chat = self._models[CHAT]
        limit = min(chat.window, chat.pool.num_tokens)
        found, wanted = len(message.prompt), message.sampling.max_new_tokens
        if not found:
            raise _invalid("prompt", "prompt has no tokens, at least one is needed.")
        self._refuse_unknown_tokens(CHAT, prompt=message.prompt)
        check_sampling(message.sampling, chat.vocab_size)
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
            caller=message.caller,
        )

    def score(self, message: Score, now: float) -> ScoreRequest:
        """One sequence a window of the text and of each of its parts.

        Raises:
            ServiceError: INVALID_FIELD or PROMPT_TOO_LONG.
        """
        if message.model == CHAT or message.model not in self._models:
            legal = ", ".join(sorted(set(self._models) - {CHAT})) or "none is loaded"
            raise _invalid("model", f"model={message.model!r} does not classify; legal: {legal}.")
        self._refuse_unknown_tokens(message.model, prefix=message.prefix, text=message.text, closing=message.closing)
        self._refuse_unknown_tokens(message.model, parts=[token for each in message.parts for token in each])
        self._refuse_unknown_tokens(message.model, candidates=[token for each in message.candidates for token in each])
        tree = self._tree(message.candidates)
        if not message.prefix and not message.closing and not all((message.text, *message.parts)):
            field = "text" if not message.text else "parts"
            raise _invalid(field, f"{field}: with prefix and closing it has no tokens, at least one is needed.")
        windows = self._text_windows(message, self._text_room(message, tree))
        self._refuse_long(message, tree, windows)
        return self._score_request(message, tree, windows, now=now)

    def _text_windows(self, message: Score, room: int) -> list[tuple[int, ...]]:
        texts = (message.text, *message.parts)
        longest = max(map(len, texts))
        if longest > room and not can_split(room):
            raise _too_long(
                "text",
                f"text has {longest} tokens; prefix and closing leave {room} a window of {message.model!r}, "
                f"and overlapping windows need at least {2 * MIN_OVERLAP_TOKENS}.",
            )
        return [window for text in texts for window in text_windows(text, room)]

    def _refuse_long(self, message: Score, tree: TokenTree, windows: list[tuple[int, ...]]) -> None:
        """A text that would keep others out of the queue. A reply's length is bounded by its own window."""
        num_tokens = sum(map(len, windows)) + len(windows) * (len(message.closing) + tree.num_tokens)
        most = self._limits.max_text_tokens
        if num_tokens > most and len(windows) > 1 and not message.of_reply:
            raise _too_long(
                "text",
                f"the text has {len(message.text)} tokens and takes {num_tokens} in {len(windows)} windows; "
                f"at most {most} are judged as one text.",
            )

    def _refuse_unknown_tokens(self, model: str, **fields: Sequence[int]) -> None:
        size = self._models[model].vocab_size
        for field, tokens in fields.items():
            if tokens and not 0 <= min(tokens) <= max(tokens) < size:
                found = next(token for token in tokens if not 0 <= token < size)
                raise _invalid(field, f"{field} has token id {found}; legal are 0 to {size - 1}.")

    def _tree(self, candidates: tuple[tuple[int, ...], ...]) -> TokenTree:
        try:
            tree = self._token_tree(candidates)
        except ValueError as error:
            raise _invalid("candidates", str(error)) from error
        most = self._limits.max_score_tail_tokens - 1
        if tree.num_tokens > most:
            raise _invalid("candidates", f"candidates need {tree.num_tokens} tokens in one step, at most {most} fit.")
        return tree

    def _text_room(self, message: Score, tree: TokenTree) -> int:
        """Text tokens a window has room for, by positions and by blocks; may be negative."""
        around = len(message.prefix) + len(message.closing)
        model = self._models[message.model]
        by_position = model.window - around - tree.max_depth
        return min(by_position, model.pool.num_tokens - around - tree.num_tokens)

    def _score_request(
        self, message: Score, tree: TokenTree, windows: list[tuple[int, ...]], now: float
    ) -> ScoreRequest:
        deadline = None if message.deadline_s is None else now + message.deadline_s
        digests = self._chain_digests(message.prefix, self._models[message.model].pool.block_tokens)
        request = ScoreRequest(
            request_id=message.request_id,
            model=message.model,
            tree=tree,
            arrival=now,
            deadline=deadline,
            of_reply=message.of_reply,
            caller=message.caller,
        )
        request.sequences = [
            ScoreSequence(
                request_id=message.request_id,
                model=message.model,
                tokens=[*message.prefix, *window, *message.closing],
                known_digests=list(digests),
                request=request,
                num_prefix_tokens=len(message.prefix),
            )
            for window in windows
        ]
        return request


def _invalid(field: str, message: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_FIELD, message, field=field)


def _too_long(field: str, message: str) -> ServiceError:
    return ServiceError(ErrorCode.PROMPT_TOO_LONG, message, field=field)
