"""A `ChatFormat` from the chat template that a checkpoint brings.

The template is rendered once, over a few conversations whose texts are marks. What stands between the marks is the
format; it must put every one of those conversations together again, or the template is refused: prompts grow by their
end alone, so a template that writes a turn in another way once another follows cannot be served.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from server.chat.prompt.chat_format import QUOTED_BACKGROUND, TOKEN_NAMES, ChatFormat, Place
from server.chat.text.neutralise import Markup
from server.config import ConfigError

_TIME_LIMIT_S = 60.0  # transformers is imported in it
_SYSTEM, _QUESTION, _REPLY = "Zq0s0qZ", "Zq{}u0qZ", "Zq{}a0qZ"
_MOST_TURNS = 3
_NAME = re.compile(r"</?([a-z0-9_]{1,40})/?>")
_BARRED = re.compile(r"<\|[a-z0-9_ ]{1,40}\|>")  # the neutraliser breaks these in every format


@dataclass(frozen=True)
class SpecialTokens:
    """Those of the checkpoint's tokenizer."""

    bos: str
    eos: str
    all: tuple[str, ...]


@dataclass(frozen=True)
class _Case:
    """A conversation that ends with a question, and what the template makes of it; None where it refuses the roles."""

    num_turns: int
    has_system: bool
    text: str | None


def format_of_template(template: str, tokens: SpecialTokens) -> ChatFormat:
    """The format that `template` writes.

    Raises:
        ConfigError: it cannot be rendered in time, or does not write conversations turn by turn.
    """
    cases = _render(template, tokens)
    plain = [case for case in cases if not case.has_system]
    base = _without_system(plain, tokens)
    if base is None or not all(_writes(base, case) for case in plain):
        raise ConfigError("the chat template does not write a conversation turn by turn, so prompts could not grow")
    with_system = [case for case in cases if case.has_system]
    candidates = [*_with_system(base, with_system[0]), replace(base, system=("", "\n\n"), system_in_question=True)]
    found = next((each for each in candidates[:-1] if all(_writes(each, case) for case in with_system)), candidates[-1])
    return replace(found, markup=_markup((*found.system, *found.question, *found.reply), tokens))


def _render(template: str, tokens: SpecialTokens) -> list[_Case]:
    shapes = [(turns, system) for system in (False, True) for turns in range(1, _MOST_TURNS + 1)]
    asked = {
        "template": template,
        "conversations": [_messages(turns, has_system=system) for turns, system in shapes],
        "variables": {"bos_token": tokens.bos, "eos_token": tokens.eos},
    }
    ran = _run(json.dumps(asked))
    if ran is None or ran.returncode < 0:
        raise ConfigError(f"the chat template was not rendered within {_TIME_LIMIT_S:g} s and 2 GiB")
    if ran.returncode:
        said = ran.stderr.strip().splitlines() or [f"status {ran.returncode}"]
        raise ConfigError(f"the chat template cannot be rendered ({said[-1][:200]})")
    return [_Case(*shape, text) for shape, text in zip(shapes, json.loads(ran.stdout), strict=True)]


def _run(asked: str) -> subprocess.CompletedProcess[str] | None:
    """The renderer's process at its end, None when it had to be ended."""
    command = [sys.executable, "-m", "server.chat.prompt.render_template"]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    try:
        return subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=_TIME_LIMIT_S, env=environ, check=False
        )
    except subprocess.TimeoutExpired:
        return None


def _messages(num_turns: int, *, has_system: bool) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": _SYSTEM}] if has_system else []
    for turn in range(1, num_turns + 1):
        messages.append({"role": "user", "content": _QUESTION.format(turn)})
        if turn < num_turns:
            messages.append({"role": "assistant", "content": _REPLY.format(turn)})
    return messages


def _without_system(plain: list[_Case], tokens: SpecialTokens) -> ChatFormat | None:
    """The format of the conversations without a system text, None where a mark got lost."""
    two_turns = plain[1].text or ""
    pieces = _split(two_turns, _QUESTION.format(1), _REPLY.format(1), _QUESTION.format(2))
    if pieces is None:
        return None
    opening, ask_to_reply, reply_to_ask, cue = pieces
    if ask_to_reply.rstrip(" ") != cue.rstrip(" ") or not ask_to_reply.startswith(cue):
        return None  # it opens a reply to be written otherwise than one that is there
    question_opens = _common_end(opening, reply_to_ask, tokens)
    ends = _end_tokens(reply_to_ask, tokens)
    return ChatFormat(
        name="template",
        preamble=opening.removesuffix(question_opens),
        system=("", ""),
        background=QUOTED_BACKGROUND,
        background_place=Place.INSIDE,
        numbers_passages=False,
        question=(question_opens, cue),
        reply=(ask_to_reply.removeprefix(cue), reply_to_ask.removesuffix(question_opens)),
        ends=() if ends else tuple(_first_words(reply_to_ask)),
        end_tokens=ends,
        markup=Markup(),
    )


def _with_system(base: ChatFormat, case: _Case) -> Iterator[ChatFormat]:
    """The ways in which `case` may have written its system text: apart from the first question, or within it."""
    pieces = _split(case.text or "", _SYSTEM, _QUESTION.format(1))
    if pieces is None:
        return
    before, between, _ = pieces
    opens, _ = base.question
    if between.endswith(opens):
        yield replace(base, system=(before, between.removesuffix(opens)), preamble_stays=False)
    opening = base.preamble + opens
    if before.startswith(opening):
        yield replace(base, system=(before.removeprefix(opening), between), system_in_question=True)


def _writes(chat_format: ChatFormat, case: _Case) -> bool:
    """Whether `chat_format` puts the conversation together as the template did."""
    (opens, closes), (reply_opens, reply_closes) = chat_format.question, chat_format.reply
    text = chat_format.preamble
    if case.has_system:
        text = text if chat_format.preamble_stays else ""
        text += opens if chat_format.system_in_question else ""
        text += _SYSTEM.join(chat_format.system)
    for turn in range(1, case.num_turns + 1):
        opened = turn == 1 and case.has_system and chat_format.system_in_question
        text += ("" if opened else opens) + _QUESTION.format(turn) + closes
        text += reply_opens + _REPLY.format(turn) + reply_closes if turn < case.num_turns else ""
    return text == case.text


def _split(text: str, *marks: str) -> list[str] | None:
    """The pieces between `marks`, None unless each stands there once, in this order."""
    pieces = []
    for mark in marks:
        if text.count(mark) != 1:
            return None
        before, _, text = text.partition(mark)
        pieces.append(before)
    return [*pieces, text]


def _common_end(one: str, other: str, tokens: SpecialTokens) -> str:
    """The longest end that both have, without the rest of a special token that it would cut."""
    length = 0
    while length < min(len(one), len(other)) and one[-1 - length] == other[-1 - length]:
        length += 1
    while any(_cuts(text, len(text) - length, tokens) for text in (one, other)):
        length -= 1
    return one[len(one) - length :]


def _cuts(text: str, place: int, tokens: SpecialTokens) -> bool:
    around = ((place - back, token) for token in tokens.all for back in range(1, len(token)))
    return any(start >= 0 and text.startswith(token, start) for start, token in around)


def _end_tokens(reply_to_ask: str, tokens: SpecialTokens) -> tuple[str, ...]:
    """The first special token behind a reply, and the tokenizer's own end of a text."""
    found = sorted((place, token) for token in tokens.all if (place := reply_to_ask.find(token)) >= 0)
    first = [token for _, token in found[:1]]
    return tuple(dict.fromkeys([*first, *([tokens.eos] if first and tokens.eos else [])]))


def _first_words(text: str) -> list[str]:
    """The first line with anything on it."""
    return [line.strip() for line in text.splitlines() if line.strip()][:1]


def _markup(written: tuple[str, ...], tokens: SpecialTokens) -> Markup:
    """What texts must not imitate: every special token, and the signs that the template writes in ordinary letters."""
    special = [token for token in tokens.all if token.strip()]
    names = [match[1] for token in special if (match := _NAME.fullmatch(token))]
    literals = [token for token in special if not _NAME.fullmatch(token) and not _BARRED.fullmatch(token)]
    between = re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or "(?!)")
    for line in "\n".join(between.sub("\n", text) for text in written).splitlines():
        sign = line.strip()
        if 2 <= len(sign) <= 40 and not sign.isalnum() and re.search(r"[^\w\s.,]", sign) and "{{date:" not in sign:
            literals.append(sign)
    literals = [each for each in dict.fromkeys(literals) if len(each) > 1]
    return Markup(tokens=tuple(dict.fromkeys((*TOKEN_NAMES, *names))), labels=("background",), literals=tuple(literals))
