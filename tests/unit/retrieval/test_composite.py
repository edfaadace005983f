"""Several retrievers as one: ranks are fused, and one that fails is left out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from server.retrieval.composite import Composite
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError


def passage(text: str, score: float = 0.5) -> Passage:
    return Passage(f"id-{text}", "d", "T", "", text, score, "")


class Answering:
    """Answers with what it is given, in that order."""

    def __init__(self, *texts: str, before: Callable[[], object] = lambda: None) -> None:
        self.version = "-".join(texts) or "none"
        self.closed = False
        self._texts = texts
        self._before = before

    def search(self, query: Query) -> list[Passage]:
        self._before()
        return [passage(text) for text in self._texts][: query.k]

    def info(self) -> dict[str, object]:
        return {"version": self.version}

    def close(self) -> None:
        self.closed = True


def fail() -> None:
    raise RetrievalError("no connection")


def texts(composite: Composite, k: int = 10) -> list[str]:
    return [found.text for found in composite.search(Query("q", k, 0, 0.0))]


def test_what_both_find_comes_before_what_one_finds() -> None:
    composite = Composite({"a": Answering("x", "both", "y"), "b": Answering("z", "both")}, timeout_s=30)
    assert texts(composite)[0] == "both"
    assert sorted(texts(composite)) == ["both", "x", "y", "z"]


def test_scores_are_reciprocal_ranks_of_which_the_best_is_one() -> None:
    composite = Composite({"a": Answering("x", "y"), "b": Answering("x")}, timeout_s=30)
    scores = {found.text: found.score for found in composite.search(Query("q", 5, 0, 0.0))}
    assert scores["x"] == pytest.approx(1.0)
    assert scores["y"] == pytest.approx((1 / 62) / (2 / 61))


def test_k_bounds_what_is_given() -> None:
    assert len(texts(Composite({"a": Answering("x", "y"), "b": Answering("z")}, timeout_s=30), k=2)) == 2


def test_a_member_that_fails_is_left_out_and_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    composite = Composite({"web": Answering("x", before=fail), "index": Answering("y")}, timeout_s=30)
    assert texts(composite) == ["y"]
    assert "retriever.failed web: no connection" in caplog.text


def test_a_member_that_hangs_is_left_out() -> None:
    held = threading.Event()
    slow = Answering("x", before=lambda: held.wait(30))
    composite = Composite({"web": slow, "index": Answering("y")}, timeout_s=0.2)
    assert texts(composite) == ["y"]
    held.set()
    composite.close()


@pytest.mark.parametrize("error", [KeyError("x"), ConnectionError(), RecursionError(), TimeoutError()])
def test_a_member_that_breaks_in_any_way_is_left_out_and_its_errors_type_logged(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def break_down() -> None:
        raise error

    composite = Composite({"own": Answering("x", before=break_down), "index": Answering("y")}, timeout_s=30)
    assert texts(composite) == ["y"]
    assert f"retriever.broken name=own error={type(error).__name__}" in caplog.text


@pytest.mark.parametrize("answer", [None, "text", [1], ({"text": "x"},)])
def test_a_member_that_answers_with_something_else_is_left_out(answer: object) -> None:
    own = Answering("x")
    own.search = lambda *_: answer  # type: ignore[assignment, method-assign]
    assert texts(Composite({"own": own, "index": Answering("y")}, timeout_s=30)) == ["y"]


def test_a_member_that_hangs_for_ever_holds_up_no_other() -> None:
    held = threading.Event()
    slow = Answering("x", before=lambda: held.wait(30))
    composite = Composite({"web": slow, "index": Answering("y")}, timeout_s=0.2, max_threads=2)
    assert [texts(composite) for _ in range(5)] == [["y"]] * 5
    held.set()
    composite.close()


def test_members_are_asked_for_more_than_one_so_that_their_ranks_can_be_fused() -> None:
    composite = Composite({"a": Answering("x", "both"), "b": Answering("z", "both")}, timeout_s=30)
    assert texts(composite, k=1) == ["both"]


def test_when_all_fail_the_search_fails_with_every_reason() -> None:
    composite = Composite({"a": Answering(before=fail), "b": Answering(before=fail)}, timeout_s=30)
    with pytest.raises(RetrievalError, match="every retriever failed: a: no connection; b: no connection"):
        composite.search(Query("q", 1, 0, 0.0))


def test_a_version_that_cannot_be_told_is_unknown() -> None:
    class Unversioned(Answering):
        @property
        def version(self) -> str:
            raise KeyError("version")

        @version.setter
        def version(self, value: str) -> None:
            pass

    composite = Composite({"own": Unversioned("x"), "b": Answering("y")}, timeout_s=30)  # type: ignore[dict-item]
    assert composite.version == "own/unknown+y"


def test_closing_closes_every_member() -> None:
    members = {"a": Answering("x"), "b": Answering("y")}
    composite = Composite(members, timeout_s=30)
    assert composite.version == "x+y"
    composite.close()
    assert all(member.closed for member in members.values())
