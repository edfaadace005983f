"""Personal data in a text, each kind checked by its own rules (lengths, check digits), so that numbers stay numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_CARD = re.compile(r"(?<!\d)(?:\d[ -]?){12,18}\d(?!\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{2,4}){3,8}(?: ?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])")


class Found(NamedTuple):
    """Personal data at `text[start:end]`."""

    start: int
    end: int
    kind: str


def _emails(text: str, _regions: Sequence[str]) -> Iterator[Found]:
    return (Found(*match.span(), "email") for match in _EMAIL.finditer(text))


def _cards(text: str, _regions: Sequence[str]) -> Iterator[Found]:
    """Numbers of payment cards: 13 to 19 digits of which the last one checks the others (Luhn)."""
    for match in _CARD.finditer(text):
        if luhn.is_valid(re.sub(r"\D", "", match[0])):
            yield Found(*match.span(), "card")


def _ibans(text: str, _regions: Sequence[str]) -> Iterator[Found]:
    """Account numbers whose country, length and check digits are right; the longest that is one."""
    for match in _IBAN.finditer(text):
        ends = [match.end(), *(match.start() + gap.start() for gap in reversed([*re.finditer(" ", match[0])]))]
        end = next((end for end in ends if iban.is_valid(text[match.start() : end])), None)
        if end is not None:
            yield Found(match.start(), end, "iban")


def _phones(text: str, regions: Sequence[str]) -> Iterator[Found]:
    """Telephone numbers that can be dialled: with a country code, or in one of `regions`."""
    for region in (None, *regions):
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            yield Found(match.start, match.end, "phone")


FINDERS: dict[str, Callable[[str, Sequence[str]], Iterator[Found]]] = {
    "email": _emails,
    "phone": _phones,
    "card": _cards,
    "iban": _ibans,
}


def find(text: str, kinds: Sequence[str], regions: Sequence[str]) -> list[Found]:
    """What of `kinds` stands in `text`, in order; of what overlaps the first that `kinds` names."""
    found: list[Found] = []
    for kind in kinds:
        for each in FINDERS[kind](text, regions):
            if all(each.end <= other.start or each.start >= other.end for other in found):
                found.append(each)
    return sorted(found)


def mask(text: str, found: Sequence[Found]) -> str:
    """`text` with its kind in brackets in place of everything found."""
    pieces, done = [], 0
    for each in found:
        pieces += [text[done : each.start], f"[{each.kind}]"]
        done = each.end
    return "".join(pieces) + text[done:]
