"""What is classified for a text: every reading of it, whole and in parts; the worst counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.chat.text.lookalikes import forms, one_line, readings
from server.chat.text.sentences import split_sentences

MOST_IN_A_RUN = 3  # sentences that are judged together
# The markers of the few-shot form, wherever they stand and however they are spaced.
_WORDS = "|".join(" ?".join(word) for word in ("input", "output", "possiblelabels"))
_MARKER = re.compile(rf"({_WORDS})(?: ?[:\uff1a])+", re.IGNORECASE)


def parts_to_judge(text: str) -> list[str]:
    """The whole of every reading of `text`, what stands between imitated markers, and its sentences, each once.

    Neither look-alikes nor invisible characters hide what a reader sees, nothing that is appended in the form of the
    few-shot prompt softens what stands before it, and no harmless sentences around a threat outweigh it: every
    sentence is judged alone and in a run of three. The first part is the whole text as it is written.
    """
    return distinct(part for form in forms(text) for part in _parts(form))


@dataclass(frozen=True)
class ReplySpan:
    """A part of a reply that is to leave, with what it is read with.

    Attributes:
        before: the reply's last sentences before it.
        whole: the reply up to the span's end; None where it was judged as a whole when it was not much shorter.
        question: what the reply answers.
    """

    text: str
    before: tuple[str, ...] = ()
    whole: str | None = None
    question: str = ""


def span_parts(span: ReplySpan) -> list[str]:
    """What is classified before a span leaves: the span with the sentences before it, alone and in its sentences,
    behind the last sentence of its question, and the reply as a whole where it is due.
    """
    with_before = " ".join((*span.before[1 - MOST_IN_A_RUN :], span.text))
    parts = [*parts_to_judge(with_before), *(parts_to_judge(span.text) if span.before else ())]
    if asked := split_sentences(span.question)[-1:]:
        answer = " ".join(split_sentences(span.text)[:MOST_IN_A_RUN])
        parts += [_MARKER.sub(r"\1", each) for each in readings(f"{asked[0]} {answer}")]
    if span.whole is not None:
        parts += [_MARKER.sub(r"\1", each) for each in readings(span.whole)]
    return distinct(parts)


def distinct(parts: Iterable[str]) -> list[str]:
    """`parts` in order, each once, and without empty ones but where there is no other."""
    return list(dict.fromkeys(part for part in parts if part)) or [""]


def _parts(form: str) -> Iterator[str]:
    """The whole reading, with the colons of its markers gone so that they are only words; then its parts."""
    line = one_line(form)
    unmarked = _MARKER.sub(r"\1", line)
    yield unmarked
    if unmarked != line:
        for between in _MARKER.sub("\n", line).splitlines():
            yield between.strip()
    sentences = [_MARKER.sub(r"\1", one_line(each)) for each in split_sentences(_MARKER.sub(r"\1\n", form))]
    if len(sentences) > 1:
        yield from sentences
        for start in range(len(sentences) - MOST_IN_A_RUN + 1):
            yield " ".join(sentences[start : start + MOST_IN_A_RUN])
