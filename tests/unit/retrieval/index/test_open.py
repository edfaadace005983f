"""The settings name the retriever: an index, the web, a user's own, or several."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from server.config import Settings, from_env
from server.retrieval import from_settings as opening
from server.retrieval.composite import Composite
from server.retrieval.from_settings import open_retriever
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError, Retriever


class Own:
    """A user's retriever."""

    version = "own/1"

    def search(self, query: Query) -> list[Passage]:
        if query.text == "break":
            raise KeyError(query.text)
        return [Passage("own:1", "own", "Own", "", query.text, 1.0, "")]

    def info(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


def open_own(settings: Settings) -> Retriever:
    return Own()


def settings(**values: str) -> Settings:
    return from_env({f"OCK_{name.upper()}": value for name, value in values.items()})


@pytest.fixture
def entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("own", f"{__name__}:open_own", opening.GROUP)

    def entry_points(group: str, **parameters: str) -> object:
        from importlib.metadata import EntryPoints

        return EntryPoints([point]).select(group=group, **parameters)

    monkeypatch.setattr(opening, "entry_points", entry_points)


def test_nothing_set_is_no_retriever() -> None:
    assert open_retriever(settings()) is None


def test_an_index_folder_is_opened_with_the_encoder_and_floor_of_its_manifest(index_folder: Path) -> None:
    retriever = open_retriever(settings(index=str(index_folder)))
    assert retriever is not None
    assert retriever.info()["score_floor"] == pytest.approx(0.2, abs=0.25)
    assert retriever.search(Query("What does the velvet fox eat?", 1, 0, 1.0))[0].title == "Velvet fox"
    retriever.close()


def test_a_floor_that_is_set_counts(index_folder: Path) -> None:
    retriever = open_retriever(settings(index=str(index_folder), score_floor="0.99"))
    assert retriever is not None
    assert retriever.search(Query("Which animals live in the woods?")) == []
    retriever.close()


def test_the_web_is_opened_when_its_address_is_set() -> None:
    retriever = open_retriever(settings(web_search_url="https://api.example/{query}"))
    assert retriever is not None
    assert retriever.version == "web/api.example"


def test_several_are_fused(index_folder: Path, entry_point: None) -> None:
    retriever = open_retriever(settings(index=str(index_folder), retrievers="index, own"))
    assert isinstance(retriever, Composite)
    found = retriever.search(Query("What does the velvet fox eat?", 5, 0, 1.0))
    assert {"Own", "Velvet fox"} <= {passage.title for passage in found}
    retriever.close()


def test_a_users_retriever_is_opened_by_its_entry_point(entry_point: None) -> None:
    retriever = open_retriever(settings(retrievers="own"))
    assert retriever is not None
    assert retriever.version == "own/1"
    assert retriever.search(Query("q", 1, 0, 0.0))[0].document_id == "own"


def test_whatever_a_users_retriever_raises_is_a_retrieval_error(
    entry_point: None, caplog: pytest.LogCaptureFixture
) -> None:
    retriever = open_retriever(settings(retrievers="own"))
    assert retriever is not None
    with pytest.raises(RetrievalError, match="it raised KeyError"):
        retriever.search(Query("break", 1, 0, 0.0))
    assert "retriever.broken name=own error=KeyError" in caplog.text


def test_a_composite_answers_before_the_turn_stops_waiting(index_folder: Path, entry_point: None) -> None:
    fused = open_retriever(settings(index=str(index_folder), retrievers="index, own", retrieval_timeout_s="10"))
    assert isinstance(fused, Composite)
    assert fused.timeout_s == pytest.approx(8)
    fused.close()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"retrievers": "nosuch"}, "OCK_RETRIEVERS names 'nosuch'; legal are index, web, own"),
        ({"retrievers": "index"}, "OCK_INDEX is empty"),
        ({"index": "/no/such/folder"}, "'/no/such/folder': no such folder"),
        ({"retrievers": "web"}, "OCK_WEB_SEARCH_URL must begin with"),
        ({"web_search_url": "https://a.example/{query}", "web_search_host": "b.example"}, "allowed is 'b.example'"),
    ],
)
def test_what_cannot_be_opened_is_said_in_a_sentence(entry_point: None, values: dict[str, str], reason: str) -> None:
    with pytest.raises(RetrievalError, match=reason):
        open_retriever(settings(**values))


def test_an_encoder_that_is_not_there_is_named(index_folder: Path) -> None:
    with pytest.raises(RetrievalError, match="encoder '/no/encoder': no such folder"):
        open_retriever(settings(index=str(index_folder), encoder="/no/encoder"))
