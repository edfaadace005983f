"""Bytes are read as browsers read them, and else as what they most likely are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_builder.documents import SkippedError
from index_builder.documents.encodings import declared_in_html, decoded
from index_builder.documents.files import RawFile, parse_file

FRENCH = "Le café « été » coûte 5 € — c’est déjà très cher à Genève."
RUSSIAN = "Москва является столицей России и крупнейшим по численности населения городом страны, расположенным на реке."
POLISH = "Zażółć gęślą jaźń. Łódź leży w województwie łódzkim, a mieszkańcy często jeżdżą tam pociągiem do Warszawy."
JAPANESE = "東京は日本の首都であり、世界でも有数の大都市です。人口は約千四百万人で、多くの企業が本社を置いています。"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(FRENCH, "cp1252"), ("café", "cp1252"), (RUSSIAN, "cp1251"), (RUSSIAN, "koi8_r"), (POLISH, "cp1250"),
     (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (FRENCH, "utf-16-le"), (FRENCH, "utf-16-be"), (FRENCH, "utf-16"),
     ("Plain English text", "utf-16-le"), ("Plain English", "utf-16-be"),
     (FRENCH, "utf-8-sig"), (RUSSIAN, "utf-8"), (FRENCH, "utf-32")],
)  # fmt: skip
def test_a_text_that_says_nothing_is_read_as_what_it_is(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding), "t") == text


OLD_FRENCH = "Le café a été très cher à Genève, où la garçonne naïve préfère le maïs."
GERMAN = "Für die Müllers größte Straße gibt es schöne Äpfel und süße Öle, sagt Jürgen in Köln."
SPANISH = "El niño español comió piña en la montaña; ¿cuándo vendrá mañana?"
QUOTED = "Elle a dit : “c’est l’été” – déjà… et le garçon a ri près de la forêt."


@pytest.mark.parametrize("encoding", ["cp437", "cp850", "mac_roman", "cp1252"])
@pytest.mark.parametrize("text", [OLD_FRENCH, GERMAN, SPANISH, "café"])
def test_what_dos_and_older_macs_wrote_is_read_as_it_was(text: str, encoding: str) -> None:
    assert decoded(text.encode(encoding), "t") == text


@pytest.mark.parametrize("encoding", ["mac_roman", "cp1252"])
def test_signs_of_print_stay_what_they_are(encoding: str) -> None:
    assert decoded(QUOTED.encode(encoding), "t") == QUOTED


def test_boxes_of_dos_are_boxes() -> None:
    text = "╔═════════════════╗\n║ Das Menü für Köln und Mainz ║\n╚═════════════════╝ Die Größe: eine halbe Seite"
    assert decoded(text.encode("cp437"), "t") == text


def test_latin_1_means_windows_1252() -> None:
    for label in ("iso-8859-1", "ISO-8859-1", "latin1", "ascii", "us-ascii", "windows-1252"):
        assert decoded("5 € “or” so".encode("cp1252"), "t", label) == "5 € “or” so"


@pytest.mark.parametrize("label", ["utf-16", "utf-16le", "UTF-16BE", "unicode"])
def test_a_page_that_says_utf_16_in_ascii_is_utf_8(label: str) -> None:
    page = f'<meta charset="{label}"><p>café'.encode()
    assert decoded(page, "p", declared_in_html(page)).endswith("café")


def test_a_page_is_read_by_the_encoding_it_names() -> None:
    for markup in ('<meta charset="koi8-r">', '<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">'):
        page = f"{markup}<p>{RUSSIAN}".encode("koi8_r")
        assert decoded(page, "p", declared_in_html(page)).endswith(RUSSIAN)


def test_a_page_that_names_a_wrong_encoding_is_read_all_the_same(tmp_path: Path) -> None:
    for name, page in {
        "a.html": b"<meta charset=utf-8><p>caf\xe9 au lait</p>",
        "b.html": b"<meta charset=klingon><p>caf\xe9 au lait</p>",
        "c.html": b"<p>caf\xe9 au lait</p>",
    }.items():
        (tmp_path / name).write_bytes(page)
        assert parse_file(RawFile(tmp_path / name, name)).text == "café au lait", name


@pytest.mark.parametrize("content", [b"MZ\0\0\1\2", bytes(range(256)) * 4, b"\x7fELF\2\1\1\0\0\0"])
def test_what_is_no_text_is_refused(content: bytes) -> None:
    with pytest.raises(SkippedError, match="no text of a known encoding"):
        decoded(content, "t")


@settings(max_examples=200, deadline=None)
@given(st.text(), st.sampled_from(["", "utf-8", "iso-8859-1", "no such", "utf-16"]))
def test_utf_8_comes_back_whatever_was_declared_wrongly(text: str, label: str) -> None:
    if "\0" not in text and (label != "utf-16" and not text.startswith("\ufeff")):
        found = decoded(text.encode(), "t", "" if label == "iso-8859-1" else label)
        assert found == text


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["", "utf-8", "latin1", "shift_jis", "utf-16", "x-user-defined"]))
def test_any_bytes_are_text_or_refused(content: bytes, label: str) -> None:
    try:
        text = decoded(content, "t", label)
    except SkippedError:
        return
    assert "\0" not in text
