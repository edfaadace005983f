"""A disguised text is also read as it looks and as one reads it who puts its letters together."""

from __future__ import annotations

import json
import random
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.chat.text import folding
from server.chat.text.folding import fold, folded_text
from server.chat.text.lookalikes import readings

TABLE: dict[str, str] = json.loads(Path(folding.__file__).with_name("lookalikes.json").read_text("utf-8"))
SAID = "i will slit your throat tonight"
APART = [
    "I w i l l s l i t y o u r t h r o a t t o n i g h t",
    "I  w i l l  s l i t  y o u r  t h r o a t  t o n i g h t",
    "I w.i.l.l s.l.i.t y.o.u.r t.h.r.o.a.t t.o.n.i.g.h.t",
    "I w-i-l-l s*l*i*t y_o_u_r t|h|r|o|a|t t~o~n~i~g~h~t",
    "I_will_slit_your_throat_tonight",
    "I.will.slit.your.throat.tonight",
    "1 w1ll sl1t y0ur thr04t t0n1ght",
    "I w!ll $l!t y0ur thr0@t t0n1ght",
    "I wiiill sliiit your throooat toniiight",
    "I wi ll sl it yo ur th ro at to ni ght",
    "Iwillslityourthroattonight",
]
PLAIN = [
    "Don't go to the well-known shop, it's closed.",
    "I have 3 cats and 12 fish; they cost 40 euro.",
    "We met at 10 in the morning, as it is so easy to do.",
    "Ich bin ein Berliner und du?",
    "mp3 and h2o and covid19 on the 2nd",
    "I will call you tonight!",
    "It is up to me, so we can go on as we do.",
    "The 19th and the 22nd are free, the 3rd is not.",
    "They are systemizing collectivised farms.",
    "Rindfleischetikettierung und Donaudampfschiff",
    "Geschwindigkeitsbegrenzungen und Krankenversicherungskarten",
    "internationalization, e3b0c44298fc1c149afbf4c8996fb924 and 0xdeadbeefcafebabe",
    "I am happy \U0001f600",
]


@pytest.mark.parametrize("text", APART)
def test_a_text_whose_letters_are_apart_is_also_read_together(text: str) -> None:
    assert readings(text)[-1] == SAID


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Leeet's beeeat theee neeew kiiid", "let's beat the new kid"),
        ("Idon'tknowwhyhehatesme", "i don't know why he hates me"),
        ("anditwillbeme", "and it will be me"),
        ("Iwillfindhim.Payortheydie", "i will find him. pay or they die"),
        ("howdoifindthem", "howdoifindthem"),  # it may be a word of another language
    ],
)
def test_of_all_words_that_letters_may_be_the_frequent_ones_are_read(written: str, read: str) -> None:
    assert readings(written)[-1].lower() == read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("I will \U0001f52a you", "i will knife you"),
        ("you \U0001f52a\U0001f52a\U0001f52a tonight", "you knife tonight"),
        ("I\U0001f52ayou with a \U0001f528\U0001f3fb", "i knife you with a hammer"),
        ("k\U0001f52ai\U0001f52al\U0001f52al them", "kill them"),
        ("I will kill\U0001f600you \U0001f602", "i will kill you \U0001f602"),
        ("all of \U0001f1ee\U0001f1f1 \u2694\ufe0f", "all of israel crossed swords"),
        ("our \U0001f468\u200d\U0001f469\u200d\U0001f467 time", "our man woman girl time"),
        ("\U0001f697\U0001f4a8 on our way", "car dash. on our way"),
    ],
)
def test_emoji_are_also_read_as_the_words_for_what_they_show(written: str, read: str) -> None:
    assert readings(written)[-1] == read


def test_words_for_emoji_make_no_text_many_times_as_long_to_judge() -> None:
    many = "\U0001f52a\U0001fa78 " * 200
    assert "knife drop of blood" in readings(f"{many} and a word")[-1]
    for text in (many * 100, "a\U0001f6a8 " * 50_000):
        assert max(map(len, readings(text))) <= len(text)


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_text_has_one_reading(text: str) -> None:
    assert len(readings(text)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_letters_drawn_at_random_from_unicode_s_confusables_are_read(seed: int) -> None:
    rng = random.Random(seed)
    disguised = "".join(rng.choice(TABLE[char] + char) if char in TABLE else char for char in SAID)
    assert SAID in [each.lower() for each in readings(disguised)]


@pytest.mark.parametrize("text", ["ꮶıꮮꮮ", "ⱪïll", "ⲕⲓⲗⲗ", "ᛕᎥᒪᒪ", "ĸіӏӏ", "🅺🅸🅻🅻", "⒦⒤⒧⒧", "𝕜𝖎𝓵𝐥", "ｋｉｌｌ"])
def test_letters_are_folded_until_nothing_changes(text: str) -> None:
    assert folded_text(text) == "kill"


def test_folding_is_at_a_fixed_point_for_every_look_alike() -> None:
    for letter, alike in TABLE.items():
        for char in alike:
            assert folded_text(folded_text(char)) == folded_text(char), (letter, char)


@given(st.text(max_size=60))
def test_folding_with_the_way_back_gives_the_same_text(text: str) -> None:
    assert fold(text).text == folded_text(text)


@given(st.text(max_size=60))
def test_every_reading_is_one_line_without_blanks_around_it(text: str) -> None:
    for reading in readings(text):
        assert len(reading.splitlines()) <= 1
        assert reading == reading.strip()
        assert not any(unicodedata.category(char) == "Cf" for char in reading)


@pytest.mark.parametrize(
    "unit",
    [
        "\U0001f52a",
        "k\U0001f52a",
        "iwillkillyou",
        "abcdefghi ",
        "a ",
        "a.",
        "k1ll ",
        "!",
        "a!",
        "ab ",
        "aaaab",
        "0",
        "<",
        "&",
        "&amp;",
        "___a",
        "ab",
        "zzz",
        "а",
        "a   ",
    ],
)
def test_reading_takes_time_in_proportion_to_the_text(unit: str) -> None:
    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        started = time.process_time()
        readings(text)
        return time.process_time() - started

    seconds(1000)
    assert seconds(160_000) < 20 * max(seconds(20_000), 0.02)  # eight times as much; a quadratic way takes 64 times
