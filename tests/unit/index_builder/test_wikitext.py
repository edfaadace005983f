"""Wiki markup becomes clean prose, whatever the page holds."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.documents.wiki.wikitext import plain, sections


@pytest.mark.parametrize(
    ("markup", "prose"),
    [
        ("'''Snow''' is ''white''.", "Snow is white."),
        ("A [[planet]] and a [[Star (body)|star]].", "A planet and a star."),
        ("A [[:Category:Stars]] page.", "A Category:Stars page."),
        ("Gone [[Category:Stars]][[de:Stern]][[File:A.jpg|thumb|A [[red]] star]] here.", "Gone here."),
        ("It is cold.<ref name=a>Book {{cite|x}}</ref> Very.<ref name=a />", "It is cold. Very."),
        ("It is cold.<REF>İstanbul</REF> Very.", "It is cold. Very."),
        ("Not closed <ref name=b>but kept.", "Not closed but kept."),
        ("{{Infobox person|name={{nowrap|A B}}|x=[[y]]}}She was a judge.", "She was a judge."),
        ("The sum <math>\\sum_{i}^{n} x_i</math> is large.", "The sum is large."),
        ("Before\n{| class=x\n|-\n| a || {{b}}\n{|\n| nested\n|}\n|}\nafter", "Before after"),
        ("It is {{convert|5|km|mi}} away, {{convert|6|ft|4|in|m}} tall.", "It is 5 km away, 6 ft 4 in tall."),
        ("It weighs {{convert|2|-|3|kg}}.", "It weighs 2–3 kg."),
        ("Called {{lang|fr|neige}} ({{lang-de|Schnee}}; {{IPA|x|}}).", "Called neige (Schnee; x)."),
        ("Born ({{birth date|1905|2|2}}; in Rome).", "Born (in Rome)."),
        ("See [http://x.example/a?b=1 the page] or [http://x.example].", "See the page or."),
        ("Fish&nbsp;&amp; chips &lt;3 <b>now</b><br/>end", "Fish & chips <3 now end"),
        ("Write <nowiki>[[link]] and {{x}}</nowiki>.", "Write [[link]] and {{x}}."),
        ("Hidden <!-- {{ --> text __NOTOC__", "Hidden text"),
        ("{{nihongo|'''Aikido'''|合気道}} is an art.", "Aikido is an art."),
    ],
)
def test_markup_reads_as_prose(markup: str, prose: str) -> None:
    assert plain(markup) == prose


def test_headings_make_paths_and_appendices_are_left_out() -> None:
    text = "Lead.\n== A ==\nIn a.\n=== B ===\nIn b.\n== References ==\nA book.\n=== Notes ===\nA note.\n== C ==\nIn c."
    assert [(section.heading, section.text) for section in sections(text)] == [
        ("", "Lead."),
        ("A", "In a."),
        ("A > B", "In b."),
        ("C", "In c."),
    ]


def test_list_items_are_paragraphs_without_bullets() -> None:
    (section,) = sections("* one thing\n** a smaller thing\n# first\n: indented\n----\n")
    assert section.paragraphs == ("one thing", "a smaller thing", "first", "indented")


MARKS = "{{ }} [[ ]] {| |} | <ref> </ref> <math> </math> <ref > '' <!-- --> word &amp; <nowiki> </nowiki> File: İ"
PIECES = [*MARKS.split(" "), " ", "\n", "\n{|", "\n|}", "\n== h ==\n"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_markup_is_read_without_error(markup: str) -> None:
    for section in sections(markup):
        assert section.paragraphs
        assert all(line.strip() == line and line for line in section.paragraphs)


@given(st.lists(st.text("abcé日", min_size=1), min_size=1))
def test_words_without_markup_are_kept(words: list[str]) -> None:
    assert plain(" ".join(words)) == " ".join(words)


HOSTILE_MARKS = "{{ [[ <ref> {{a| {{}}| <nowiki> [http://x ( = ' <!-- & < , <b [http://a[ |- :: ]]} {| [[a|"
HOSTILE = [mark * 150_000 for mark in HOSTILE_MARKS.split(" ")]
HANG_S = 60  # a quadratic pass would take hours, ours takes half a second


@pytest.fixture
def hang_guard() -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise TimeoutError(f"still reading after {HANG_S} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(HANG_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("hang_guard")
@pytest.mark.parametrize("hostile", [*HOSTILE, "\n{|" * 100_000, "{{a|" * 100_000 + "}}" * 100_000])
def test_hostile_markup_is_read_in_the_end(hostile: str) -> None:
    kept = [paragraph for section in sections(hostile) for paragraph in section.paragraphs]
    assert sum(map(len, kept)) <= len(hostile)
