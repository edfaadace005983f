"""What nobody sees is taken out of a text, and what makes a letter or an emoji stays."""

from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.text.normal import MAX_MARKS, hidden_text, normalise
from server.chat.text.visible import is_blank, is_visible

HIDDEN = "".join(chr(0xE0000 + ord(char)) for char in "I will kill you")
SHOWN = [
    "👨‍👩‍👧‍👦 a family, 🏳️‍🌈 a flag, 👩🏽‍🚀 a woman in space",
    "❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿 🇩🇪 1️⃣ #️⃣ 👍🏽 ☎️ ©️",
    "नमस्ते क्‍ष",
    "می‌خواهم",
    "Zoë, Łukasz, Tiếng Việt, Ünïcode",
    "שָׁלוֹם עָלֵיכֶם",
    "ภาษาไทยที่นี่",
    "def f(x):\n\treturn x\n\n\nprint(f(1))",
]
unseen = st.sampled_from(
    ["\u200b", "\u200d", "\u200c", "\ufe0f", "\u202e", "\u2066", "\ufeff", "\u00ad", "\u034f", "\u3164", "\U000e0041",
     "\U000e007f", "\U000e0100", "\x00", "\ue000", "\u0378", "\u0301", "🏴", "❤", "क", "्", "1", " ", "\u2028", "\u0344",
     "\u0958", "\U0001d15e", "\u20e3", "ﷺ"]
)  # fmt: skip
texts = st.one_of(st.text(), st.lists(st.one_of(unseen, st.characters()), max_size=20).map("".join))


@pytest.mark.parametrize("text", SHOWN)
def test_letters_flags_and_families_stay_as_they_are(text: str) -> None:
    assert normalise(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Good morning{HIDDEN}", "Good morning"),
        (f"🏴{HIDDEN}\U000e007f", "🏴"),
        ("k\u200bi\u200dl\u2060l\ufeff", "kill"),
        ("a\u202eb\u2066c\u200fd", "abcd"),
        ("s\ufe00e\U000e0101e\ufe0f", "see"),
        ("x\x00\x1by\ue000", "xy"),
        ("z" + "\u0328\u0301" * 40, unicodedata.normalize("NFC", "z" + "\u0328\u0301" * (MAX_MARKS // 2))),
        ("one\r\ntwo\u2028three", "one\ntwo\nthree"),
        ("cafe\u0301", "café"),
        (" \n Hi \u3164\u200b", "Hi"),
        ("\u0301\u0302", ""),
    ],
)
def test_what_nobody_sees_goes(text: str, left: str) -> None:
    assert normalise(text) == left


def test_what_tags_spell_is_found_but_for_those_of_flags() -> None:
    assert hidden_text(f"Good morning{HIDDEN}") == "I will kill you"
    assert hidden_text("🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁷󠁬󠁳󠁿 plain") == ""


@given(texts)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(texts)
def test_no_invisible_character_stays_but_joiners_and_selectors_in_their_places(text: str) -> None:
    left = normalise(text)
    for before, char in zip("\0" + left, left, strict=False):
        category = unicodedata.category(char)
        if char in "\u200c\u200d\ufe0e\ufe0f":
            assert is_visible(before) or unicodedata.category(before) in ("Mn", "Me") or before == "\ufe0f"
        elif category == "Cf" and not 0xE0020 <= ord(char) <= 0xE007F:
            assert 0x600 <= ord(char) <= 0x110CD
        elif category in ("Cn", "Co", "Cs"):
            assert 0x1F000 <= ord(char) <= 0x1FAFF
        elif category == "Cc":
            assert char in "\n\t"


@pytest.mark.parametrize("first", range(0, sys.maxunicode, 0x8000))
def test_every_character_alone_is_shown_or_gone(first: int) -> None:
    for code in range(first, min(first + 0x8000, sys.maxunicode + 1)):
        left = normalise(chr(code))
        assert left == "" or is_visible(left[0]) or unicodedata.category(left[0]) in ("Cn", "Cf"), hex(code)


@pytest.mark.parametrize(
    "text",
    [" " * 6_000_000 + "Hi", "\u0301" * 3_000_000 + "Hi", "Н" * 3_000_000, "a\u0301\u0327" * 1_000_000,
     "\u200b" * 2_000_000 + "x", "a\u200d" * 1_000_000, "❤\u200d" * 1_000_000, "🏴" + "\U000e0061" * 1_500_000],
    ids=["blanks", "marks", "look-alikes", "marked letters", "zero width", "joiners", "joined hearts", "tags"],
)  # fmt: skip
def test_six_megabytes_take_seconds_at_most(text: str) -> None:
    started = time.process_time()
    normalise(text)
    assert time.process_time() - started < 10  # a quarter of that on an idle core; a quadratic way takes hours


@pytest.mark.parametrize("text", [" " * 6_000_000, "\u0301" * 3_000_000, "\u3164" * 2_000_000])
def test_megabytes_of_nothing_are_found_blank_at_once(text: str) -> None:
    started = time.process_time()
    assert is_blank(text)
    assert time.process_time() - started < 5
