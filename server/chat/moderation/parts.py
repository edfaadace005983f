"""What is classified for a text: every reading of it, whole and in parts; the worst counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from server.chat.text.lookalikes import forms, one_line, readings
from server.chat.text.sentences import packs, split_sentences, windows

MOST_IN_A_RUN = 3  # sentences that are judged together
# The markers of the few-shot form, wherever they stand and however they are spaced.
_WORDS = "|".join(" ?".join(word) for word in ("input", "output", "possiblelabels"))
_MARKER = re.compile(rf"({_WORDS})(?: ?[:\uff1a])+", re.IGNORECASE)


def parts_to_judge(text: str) -> list[str]:
    """The whole of every reading of `text`, what stands between imitated markers, and its sentences, each once.

    Neither look-alikes nor invisible characters hide what a reader sees, nothing that is appended in the form of the
    few-shot prompt softens what stands before it, and no harmless sentences around a threat outweigh it: every
    sentence is judged alone and in runs of three. The first part is the whole text as it is written.
    """
    return distinct(part for form in _forms(text) for part in _parts(form))


@dataclass(frozen=True)
class ReplySpan:
    """A part of a reply that is to leave, with what it is read with.

    Attributes:
        before: the sentences before it of its run; see `sentences_before`.
        whole: the reply up to the span's end; None where it was judged as a whole when it was not much shorter.
        question: what the reply answers.
    """

    text: str
    before: tuple[str, ...] = ()
    whole: str | None = None
    question: str = ""


@dataclass(frozen=True)
class Screen:
    """The first look at a text: as a whole, and no more than `MOST_WORDS` words at a time.

    Attributes:
        main: what gets a verdict with all labels; None for a part of a reply that is not due as a whole.
        others: what is only looked at.
        closer: all the parts that are judged where a look finds something.
    """

    main: str | None
    others: tuple[str, ...]
    closer: Callable[[], list[str]]


def screen_text(text: str) -> Screen:
    """The first look at a text."""
    main, *others = distinct(each for form in _forms(text) for each in _broad_parts(form))
    return Screen(main, tuple(others), lambda: parts_to_judge(text))


def screen_span(span: ReplySpan) -> Screen:
    """The first look at a part of a reply: behind its question, with what it follows; where it is due, as a whole."""
    asked = "".join(windows(each)[0] + " " for each in split_sentences(span.question)[-1:])
    behind = _wholes(asked + " ".join((*span.before, span.text)))
    wholes = [] if span.whole is None else _wholes(asked + span.whole)
    looked_at = distinct([*wholes, *behind, *(each for form in _forms(span.text) for each in _broad_parts(form))])
    within = set(_wholes(span.text))  # stands in what is behind the question
    others = [each for each in looked_at[len(wholes[:1]) :] if each not in within]
    return Screen(wholes[0] if wholes else None, tuple(others), lambda: span_parts(span))


def span_parts(span: ReplySpan) -> list[str]:
    """What is classified before a span leaves: the span with the sentences before it, alone and in its sentences,
    behind the last sentence of its question, and the reply as a whole where it is due.

    Texts that begin alike stand in this order, so that the engine reuses the keys and values of their beginnings.
    """
    parts = [] if span.whole is None else _wholes(span.whole)
    parts += _wholes(" ".join((*span.before, span.text)))
    parts += parts_to_judge(span.text)
    if asked := split_sentences(span.question)[-1:]:
        answer = windows(" ".join(split_sentences(span.text)[:2]))[0]
        parts += _wholes(f"{asked[0]} {answer}")
    return distinct(parts)


def sentences_before(before: Sequence[str], span: str) -> tuple[str, ...]:
    """The sentences that the span after `span` is judged with, given those that this one was judged with.

    Runs grow to three sentences and begin anew with the last of them: every two neighbours are judged together, and
    each run begins with the one before it, whose keys and values are reused.
    """
    sentences = (*before, *split_sentences(span))
    return sentences[-1:] if len(sentences) >= MOST_IN_A_RUN else sentences


def has_several_sentences(part: str) -> bool:
    """Whether `part` is a run of sentences, or a whole text of several."""
    return len(split_sentences(part)) > 1


def run_starts(num_sentences: int) -> list[int]:
    """Where runs of three sentences begin so that every two neighbours are in one."""
    last = num_sentences - MOST_IN_A_RUN
    return sorted({*range(0, last + 1, MOST_IN_A_RUN - 1), last}) if last >= 0 else []


def _forms(text: str) -> list[str]:
    """The readings of a text, and of what stands between markers: a word beside one may be put together with it."""
    found = forms(text)
    between = distinct(each for form in found for each in _between_markers(one_line(form)))
    return found + [form for each in between for form in forms(each)]


def _wholes(text: str) -> list[str]:
    return [_MARKER.sub(r"\1", each) for each in readings(text)]


def distinct(parts: Iterable[str]) -> list[str]:
    """`parts` in order, each once, and without empty ones but where there is no other."""
    return list(dict.fromkeys(part for part in parts if part)) or [""]


def _between_markers(line: str) -> list[str]:
    """What stands before, between and behind the markers in `line`; nothing where there is none."""
    return [each.strip() for each in _MARKER.split(line)[::2]] if _MARKER.search(line) else []


def _parts(form: str) -> Iterator[str]:
    """The whole reading, with the colons of its markers gone so that they are only words; then its parts."""
    yield from _unmarked_and_between(form)
    sentences = _sentences(form)
    for sentence in sentences:
        yield from windows(sentence)
    if len(sentences) > 1:
        yield from _runs(sentences)


def _broad_parts(form: str) -> Iterator[str]:
    """The whole reading as in `_parts`; then its sentences, as many at a time as are looked at together."""
    yield from _unmarked_and_between(form)
    yield from packs(_sentences(form))


def _unmarked_and_between(form: str) -> Iterator[str]:
    line = one_line(form)
    yield _MARKER.sub(r"\1", line)
    yield from _between_markers(line)


def _sentences(form: str) -> list[str]:
    return [_MARKER.sub(r"\1", one_line(each)) for each in split_sentences(_MARKER.sub(r"\1\n", form))]


def _runs(sentences: Sequence[str]) -> list[str]:
    return [" ".join(sentences[start : start + MOST_IN_A_RUN]) for start in run_starts(len(sentences))]
