"""Log-probabilities of a reply's tokens in OpenAI's two shapes."""

from __future__ import annotations

from itertools import accumulate

import msgspec

from server.chat.records.turn_records import TurnResult
from server.wire import Alternative, TokenLogprobs


class TopLogprob(msgspec.Struct, frozen=True):
    """A token that could have stood there. `bytes` are its own, which need not be whole characters."""

    token: str
    logprob: float
    bytes: tuple[int, ...]


class ChatTokenLogprob(msgspec.Struct, frozen=True):
    """A token of the reply and those that could have stood in its place."""

    token: str
    logprob: float
    bytes: tuple[int, ...]
    top_logprobs: tuple[TopLogprob, ...]


class ChatLogprobs(msgspec.Struct, frozen=True):
    """The reply's tokens in order."""

    content: tuple[ChatTokenLogprob, ...]
    refusal: None = None


class TextLogprobs(msgspec.Struct, frozen=True):
    """The same for /v1/completions: parallel lists."""

    tokens: tuple[str, ...]
    token_logprobs: tuple[float, ...]
    top_logprobs: tuple[dict[str, float], ...]
    text_offset: tuple[int, ...]


def chat_logprobs(result: TurnResult) -> ChatLogprobs | None:
    """As chat completions give them; None where none were asked for."""
    return ChatLogprobs(tuple(map(_chat_token, result.logprobs))) if result.logprobs else None


def text_logprobs(result: TurnResult, offset: int = 0) -> TextLogprobs | None:
    """As completions give them, the text beginning at `offset`; None where none were asked for."""
    if not result.logprobs:
        return None
    tokens = tuple(_text(each.chosen) for each in result.logprobs)
    return TextLogprobs(
        tokens=tokens,
        token_logprobs=tuple(each.chosen.logprob for each in result.logprobs),
        top_logprobs=tuple({_text(other): other.logprob for other in each.top} for each in result.logprobs),
        text_offset=tuple(accumulate(map(len, tokens[:-1]), initial=offset)),
    )


def _chat_token(token: TokenLogprobs) -> ChatTokenLogprob:
    chosen = token.chosen
    others = tuple(TopLogprob(_text(each), each.logprob, tuple(each.text)) for each in token.top)
    return ChatTokenLogprob(_text(chosen), chosen.logprob, tuple(chosen.text), top_logprobs=others)


def _text(token: Alternative) -> str:
    return token.text.decode("utf-8", "replace")
