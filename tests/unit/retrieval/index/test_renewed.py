"""A newer index takes an earlier one's place under searches: none fails, none is answered by a mixture."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from server.artifacts.folder import MANIFEST
from server.retrieval.composite import Composite
from server.retrieval.encoder.encoder import Encoder
from server.retrieval.encoder.shared import SharedEncoder
from server.retrieval.guarded import Guarded
from server.retrieval.index.files import local_index
from server.retrieval.index.manifest import encode_manifest, read_manifest
from server.retrieval.index.renewed import RenewedIndex
from server.retrieval.index.retriever import IndexRetriever
from server.retrieval.index.small_talk import SmallTalk
from server.retrieval.query import Query
from server.retrieval.retriever import RetrievalError, renew

QUESTION = Query("Who built the Lighthouse of Norrby?", k=1, window=0, threshold=1.0)
DEADLINE_S = 20.0


class Bench:
    """Versions of an index side by side, and what is open of them."""

    def __init__(self, folder: Path, original: Path, encoder: Encoder, poll_s: float = 0.0) -> None:
        self.folder = folder
        self._original = original
        self._encoder = SharedEncoder(encoder)
        self._small_talk = SmallTalk(self._encoder)
        self.publish("one")
        self.opened = threading.Semaphore(0)
        self.index = RenewedIndex(lambda: local_index(str(folder), folder), self._open, poll_s, cache=folder)
        assert self.opened.acquire(timeout=DEADLINE_S)

    def publish(self, version: str) -> Path:
        """Another version, made one second after the last."""
        folder = self.folder / version
        shutil.copytree(self._original, folder.with_name(f".{version}"))
        manifest = read_manifest(self._original)
        number = len([child for child in self.folder.iterdir() if not child.name.startswith(".")])
        fresh = msgspec.structs.replace(manifest, version=version, created=f"2026-01-01T00:00:{number:02}")
        (folder.with_name(f".{version}") / MANIFEST).write_bytes(encode_manifest(fresh))
        folder.with_name(f".{version}").rename(folder)
        return folder

    def _open(self, folder: Path) -> IndexRetriever:
        try:
            return IndexRetriever(folder, self._encoder, -1.0, timeout_s=DEADLINE_S, small_talk=self._small_talk)
        finally:
            self.opened.release()


@pytest.fixture
def bench(tmp_path: Path, index_folder: Path, encoder: Encoder) -> Iterator[Bench]:
    made = Bench(tmp_path, index_folder, encoder)
    yield made
    made.index.close()


def until(true: Callable[[], bool]) -> bool:
    waiter = threading.Event()
    for _ in range(int(DEADLINE_S / 0.01)):
        if true():
            return True
        waiter.wait(0.01)
    return False


def is_version(bench: Bench, version: str) -> bool:
    return bench.index.version.split("/")[1] == version


def test_a_newer_version_is_searched_when_it_is_asked_for(bench: Bench) -> None:
    assert is_version(bench, "one")
    bench.publish("two")
    assert is_version(bench, "one")
    renew(Composite({"index": Guarded("index", bench.index, DEADLINE_S)}, DEADLINE_S))
    assert until(lambda: is_version(bench, "two"))
    assert "Karin Falk" in bench.index.search(QUESTION)[0].text


def test_a_newer_version_is_found_by_looking(tmp_path: Path, index_folder: Path, encoder: Encoder) -> None:
    bench = Bench(tmp_path, index_folder, encoder, poll_s=0.02)
    try:
        bench.publish("two")
        assert until(lambda: is_version(bench, "two"))
    finally:
        bench.index.close()


def test_searches_under_way_end_on_the_index_that_they_began(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bench.index._current.index
    entered, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    search, close = before.search, before.close
    monkeypatch.setattr(before, "search", lambda query: (entered.set(), go_on.wait(DEADLINE_S), search(query))[2])
    monkeypatch.setattr(before, "close", lambda: (closed.set(), close()))
    found: list[str] = []
    searching = threading.Thread(target=lambda: found.append(bench.index.search(QUESTION)[0].text))
    searching.start()
    assert entered.wait(DEADLINE_S)
    bench.publish("two")
    bench.index.renew()
    assert until(lambda: is_version(bench, "two"))
    assert "Karin Falk" in bench.index.search(QUESTION)[0].text  # on the new one, while the old one is still searched
    assert not closed.is_set()
    assert (bench.folder / "one").is_dir()
    go_on.set()
    searching.join(DEADLINE_S)
    assert "Karin Falk" in found[0]
    assert closed.wait(DEADLINE_S)
    assert until(lambda: not (bench.folder / "one").exists())  # what was fetched for it goes with it


def test_no_search_fails_while_versions_come_and_go(bench: Bench) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def search_on() -> None:
        while not stop.is_set():
            try:
                assert "Karin Falk" in bench.index.search(QUESTION)[0].text
            except BaseException as error:  # noqa: BLE001 - it is the test's result
                failures.append(error)

    threads = [threading.Thread(target=search_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(3):
        bench.publish(f"v{number}")
        bench.index.renew()
        assert until(lambda number=number: is_version(bench, f"v{number}"))
    stop.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert failures == []
    assert [path.name for path in bench.folder.iterdir() if path.is_dir()] == ["v2"]


def test_an_index_that_took_the_place_of_another_in_one_folder_is_opened(
    tmp_path: Path, index_folder: Path, encoder: Encoder
) -> None:
    folder = tmp_path / "index"
    shutil.copytree(index_folder, folder)
    shared = SharedEncoder(encoder)
    index = RenewedIndex(
        lambda: folder, lambda path: IndexRetriever(path, shared, -1.0, DEADLINE_S), 0.0, cache=tmp_path / "cache"
    )
    try:
        fresh = msgspec.structs.replace(read_manifest(folder), version="updated")
        (folder / ".draft").write_bytes(encode_manifest(fresh))
        (folder / ".draft").rename(folder / MANIFEST)
        index.renew()
        assert until(lambda: index.version.split("/")[1] == "updated")
        assert folder.is_dir()
    finally:
        index.close()


def test_a_newer_version_that_cannot_be_opened_changes_nothing_and_is_told_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    broken = bench.publish("two")
    (broken / "vectors.npy").unlink()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            bench.index.renew()
        assert until(lambda: "index.renewal failed" in caplog.text)
        assert until(lambda: not bench.index._wake.is_set())
    assert is_version(bench, "one")
    assert "Karin Falk" in bench.index.search(QUESTION)[0].text
    assert caplog.text.count("index.renewal failed") == 1
    bench.publish("three")
    bench.index.renew()
    assert until(lambda: is_version(bench, "three"))


def test_an_address_that_cannot_be_asked_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> Path:
        raise RetrievalError("index s3://b/i: no answer")

    bench.index._find = refused
    bench.index.renew()
    assert until(lambda: "no answer" in caplog.text)
    assert is_version(bench, "one")
