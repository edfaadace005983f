"""Windows of sentences: whole, in order, with exact places, never across headings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from index_builder.documents import Document, Section
from index_builder.passages.window import WindowShape, cut_document


def document(*sections: tuple[str, int]) -> Document:
    """Sections of numbered sentences, two a paragraph."""
    made = []
    for heading, num_sentences in sections:
        sentences = [f"Sentence {number} of {heading or 'lead'}." for number in range(num_sentences)]
        paragraphs = [" ".join(sentences[i : i + 2]) for i in range(0, num_sentences, 2)]
        made.append(Section(heading, tuple(paragraphs)))
    return Document("7", "Title", "https://x.example/7", tuple(made))


def test_windows_hold_three_sentences_and_none_is_short() -> None:
    windows = list(cut_document(document(("", 7)), WindowShape()))
    assert [window.text for window in windows] == [
        "Sentence 0 of lead. Sentence 1 of lead. Sentence 2 of lead.",
        "Sentence 3 of lead. Sentence 4 of lead. Sentence 5 of lead.",
        "Sentence 4 of lead. Sentence 5 of lead. Sentence 6 of lead.",
    ]


def test_no_window_reaches_across_a_heading() -> None:
    windows = list(cut_document(document(("", 2), ("Alpha", 4), ("Beta", 1)), WindowShape()))
    assert [(window.section, window.text.count("Sentence")) for window in windows] == [
        ("", 2),
        ("Alpha", 3),
        ("Alpha", 3),
        ("Beta", 1),
    ]


def test_ids_count_the_documents_passages() -> None:
    windows = cut_document(document(("", 3), ("Alpha", 3)), WindowShape())
    assert [window.passage_id for window in windows] == ["7:0", "7:1"]


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=5),
    st.integers(1, 5).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size))),
)
def test_windows_cover_every_sentence_at_its_place(sizes: list[int], shape: tuple[int, int]) -> None:
    doc = document(*((f"H{number}", size) for number, size in enumerate(sizes)))
    windows = list(cut_document(doc, WindowShape(*shape)))
    for window in windows:
        assert doc.text[window.start : window.end].replace("\n", " ") == window.text
        assert 1 <= len(window.sentences) <= shape[0]
        assert all(window.text[start:end].endswith(".") for start, end in window.sentences)
    covered = "".join(sorted({window.text[start:end] for window in windows for start, end in window.sentences}))
    expected = {f"Sentence {i} of H{number}." for number, size in enumerate(sizes) for i in range(size)}
    assert covered == "".join(sorted(expected))
    assert len({window.passage_id for window in windows}) == len(windows)
