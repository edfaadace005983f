"""Questions asked lately are not encoded again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from server.retrieval.encoder.question_vectors import QuestionVectors


class Lengths:
    """Encodes a text as its length."""

    dimension = 1

    def __init__(self) -> None:
        self.encoded: list[list[str]] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.encoded.append(list(texts))
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_what_was_encoded_lately_is_not_encoded_again() -> None:
    encoder = Lengths()
    vectors = QuestionVectors(encoder)  # type: ignore[arg-type]
    assert vectors.encode(["a", "bb", "a"]).tolist() == [[1], [2], [1]]
    assert vectors.encode(["bb", "ccc"]).tolist() == [[2], [3]]
    assert vectors.encode(["a"]).tolist() == [[1]]
    assert encoder.encoded == [["a", "bb"], ["ccc"]]


def test_no_more_is_kept_than_there_is_room_for() -> None:
    encoder = Lengths()
    vectors = QuestionVectors(encoder, max_kept=2)  # type: ignore[arg-type]
    assert vectors.encode(["a", "bb", "ccc"]).tolist() == [[1], [2], [3]]
    assert vectors.encode(["a", "ccc"]).tolist() == [[1], [3]]
    assert encoder.encoded == [["a", "bb", "ccc"], ["a"]]


def test_half_a_character_is_a_text_too() -> None:
    assert QuestionVectors(Lengths()).encode(["\ud800"]).tolist() == [[1]]  # type: ignore[arg-type]
