"""Wiki markup becomes clean prose, whatever the page holds."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.bench.building import cases_by_kind
from index_builder.documents.wiki.site import Site
from index_builder.documents.wiki.wikitext import plain, read_markup


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
        ("The sum <math>\\sum_{i}^{n} x_i</math> is large.", "The sum ∑_i^n x_i is large."),
        ("Before\n{| class=x\n|-\n| a || {{b}}\n{|\n| nested\n|}\n|}\nafter", "Before a: nested after"),
        ("It is {{convert|5|km|mi}} away, {{convert|6|ft|4|in|m}} tall.", "It is 5 km away, 6 ft 4 in tall."),
        ("It weighs {{convert|2|-|3|kg}}.", "It weighs 2–3 kg."),
        ("Called {{lang|fr|neige}} ({{lang-de|Schnee}}; {{IPA|x|}}).", "Called neige (Schnee; x)."),
        ("Born ({{birth date|1905|2|2}}; in Rome).", "Born (February 2, 1905; in Rome)."),
        ("See [http://x.example/a?b=1 the page] or [http://x.example].", "See the page or."),
        ("Fish&nbsp;&amp; chips &lt;3 <b>now</b><br/>end", "Fish & chips <3 now end"),
        ("Write <nowiki>[[link]] and {{x}}</nowiki>.", "Write [[link]] and {{x}}."),
        ("Hidden <!-- {{ --> text __NOTOC__", "Hidden text"),
        ("{{nihongo|'''Aikido'''|合気道}} is an art.", "Aikido (合気道) is an art."),
    ],
)
def test_markup_reads_as_prose(markup: str, prose: str) -> None:
    assert plain(markup) == prose


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Watch [[CSI: Miami]] and [[Star Trek: Voyager|Voyager]].", "Watch CSI: Miami and Voyager."),
        ("[[:fr:Berlin]], [[wikt:snow|snow]], [[Help:Contents]].", "fr:Berlin, snow, Help:Contents."),
        ("Le sommet, à {{unité|2000|m}}, a {{unité|10|km|2}}.", "Le sommet, à 2000 m, a 10 km²."),
        ("Of {{frac|3|1|2}}, {{frac|1|2}}, {{frac|4}}, {{дробь|1|3}}", "Of 3 1/2, 1/2, 1/4, 1/3"),
        (
            "At {{convert|20|C|F}}, {{cvt|5|x|6|x|7|m|ft}}, {{convert|1|to|2|sqmi}}",
            "At 20 °C, 5 × 6 × 7 m, 1 to 2 sq mi",
        ),
        ("Of {{convert|661848|km2|sqmi|-2}}, {{cvt|9|km|2}}", "Of 661848 km², 9 km"),
        ("{{M|2000|m}}, {{fmtn|300|km}}, {{num|5|м}}, {{unidad|5|kg}}", "2000 m, 300 km, 5 м, 5 kg"),
        ("{{val|1.5|0.2|e=6|u=m}}, {{nts|1234}}, {{US$|5 million}}", "1.5±0.2×10^6 m, 1234, $5 million"),
        ("{{date|14|juillet|1789}}, {{As of|2010|5}}, {{1er|mai}}", "14 juillet 1789, As of May 2010, 1er mai"),
        ("Au {{s-|XIX|e}} et aux {{s2-|XVI|e|XVII|e}}", "Au XIXe siècle et aux XVIe et XVIIe siècles"),
        ("{{quote|To be.|Hamlet}}", "To be. — Hamlet"),
        ("Il dit {{citation|Je pense}}.{{citation|last=X|title=Y}}", "Il dit « Je pense »."),
        ("10<sup>6</sup> m<sup>2</sup> of H<sub>2</sub>O", "10⁶ m² of H2O"),
        ("<math>\\frac{mc^2}{2}</math>", "(mc^2)/2"),
        ("l'''amour''", "l'amour"),
        ("dogs' '''tails'''", "dogs' tails"),
        ("''''quoted'''", "'quoted"),
        ("-{zh-hans:计算机;zh-hant:電腦}- -{T|x}- -{文}-", "计算机 文"),
        ("{{hlist|a|b}}, {{USS|Enterprise|CV-6}}", "a · b, USS Enterprise (CV-6)"),
        ("{{refnec|Il pleut}}, {{senza fonte|piove}}", "Il pleut, piove"),
        ("{{circa|1400|1410}}, {{reign|1400|1410}}, {{circa|1500}}", "c. 1400 – c. 1410, r. 1400–1410, c. 1500"),
        ("{{Mme|Dupont}} n{{o}} 5, {{pourcentage|45}}", "Mme Dupont no 5, 45 %"),
        ("{{height|ft=6|in=2}}, {{marriage|Ann|1990|2000}}", "6 ft 2 in, Ann (m. 1990–2000)"),
        ("<code>x = [1]</code>", "x = [1]"),
        ("<pre>a = b\n# c</pre>", "a = b # c"),
    ],
)
def test_markup_reads_as_a_reader_sees_it(markup: str, text: str) -> None:
    assert plain(markup) == text


def test_a_table_is_read_row_by_row_behind_its_headings() -> None:
    table = (
        '{| class="wikitable"\n|+ Cities\n! City !! Population !! [[Area]]\n|-\n'
        "| [[Berlin]] || 3,600,000 || {{convert|892|km2|sqmi}}\n|- style=x\n! scope=row | Paris\n"
        "| rowspan=2 | 2,100,000\n| 105 km<sup>2</sup>\n|-\n| Lyon || 48\n|}\n"
        '{| class="infobox"\n| x || y\n|}'
    )
    prose = read_markup(table)
    assert prose.sections[0].paragraphs == (
        "Cities",
        "City: Berlin; Population: 3,600,000; Area: 892 km²",
        "City: Paris; Population: 2,100,000; Area: 105 km²",
        "City: Lyon; Population: 2,100,000; Area: 48",
    )
    assert prose.dropped == {"infobox or navigation box": 1}


def test_pictures_and_categories_are_told_by_the_names_that_a_dump_gives_them() -> None:
    klingon = Site.of("", {6: "nagh", 14: "Segh"})
    markup = "[[nagh:a.jpg|mini|Der [[Turm]]]][[Segh:x]][[Datei:b.jpg|mini|c]][[Kategorie:d]]Hier."
    prose = read_markup(markup, klingon)
    assert prose.sections[0].text == "Hier."
    assert prose.dropped == {"image": 2}


@pytest.mark.parametrize(
    "heading",
    ["Einzelnachweise", "Voir aussi", "Enlaces externos", "Примечания", "関連項目", "参考文献", "مراجع", "각주"],
)
def test_appendices_are_left_out_in_every_large_language(heading: str) -> None:
    prose = read_markup(f"Text.\n== {heading} ==\n* [http://x y]\n")
    assert [section.text for section in prose.sections] == ["Text."]
    assert prose.dropped == {"appendix section": 1}


def test_what_is_left_out_is_counted_by_kind() -> None:
    prose = read_markup("A.<ref>b</ref>{{cite web|x}}{{main|C}}{{foo|d}}[[File:e.jpg]]<gallery>f</gallery>")
    assert prose.dropped == {
        "reference": 2, "note above an article or section": 1, "template without known text": 1, "image": 2,
    }  # fmt: skip


def test_headings_make_paths_and_appendices_are_left_out() -> None:
    text = "Lead.\n== A ==\nIn a.\n=== B ===\nIn b.\n== References ==\nA book.\n=== Notes ===\nA note.\n== C ==\nIn c."
    assert [(section.heading, section.text) for section in read_markup(text).sections] == [
        ("", "Lead."),
        ("A", "In a."),
        ("A > B", "In b."),
        ("C", "In c."),
    ]


def test_list_items_are_paragraphs_without_bullets() -> None:
    (section,) = read_markup("* one thing\n** a smaller thing\n# first\n: indented\n----\n").sections
    assert section.paragraphs == ("one thing", "a smaller thing", "first", "indented")


MARKS = "{{ }} [[ ]] {| |} | <ref> </ref> <math> </math> <ref > '' <!-- --> word &amp; <nowiki> </nowiki> File: İ"
PIECES = [*MARKS.split(" "), " ", "\n", "\n{|", "\n|}", "\n== h ==\n"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join))
def test_any_markup_is_read_without_error(markup: str) -> None:
    for section in read_markup(markup).sections:
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
    kept = [paragraph for section in read_markup(hostile).sections for paragraph in section.paragraphs]
    assert sum(map(len, kept)) <= len(hostile)


def test_every_kind_of_markup_reads_as_a_reader_sees_it() -> None:
    kinds = cases_by_kind(Path("tests/data/wikitext_fidelity.jsonl"))
    assert len(kinds) >= 17
    wrong = {kind: found["ours"] for kind, found in kinds.items() if len(set(found["ours"].split("/"))) > 1}
    assert not wrong
