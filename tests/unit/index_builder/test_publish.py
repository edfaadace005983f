"""Publishing: whole versions side by side, the manifest last, nothing below the floor."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from index_builder.manifest import file_facts, store_manifest
from index_builder.progress import Progress
from index_builder.publish import LocalTarget, PublishError, publish
from server.artifacts.folder import MANIFEST
from server.retrieval.index.files import local_index
from server.retrieval.index.manifest import FileFacts, IndexFacts, Manifest, encode_manifest, read_manifest
from tests.unit.index_builder.manifests import made_up_manifest

QUIET = Progress(quiet=True)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    folder = tmp_path / "built"
    folder.mkdir()
    (folder / "knn.index").write_bytes(b"index" * 100)
    (folder / "passages.arrow").write_bytes(b"passages" * 100)
    files = {name: file_facts(folder / name) for name in ("knn.index", "passages.arrow")}
    store_manifest(folder, made_up_manifest(files, recall=0.97))
    return folder


def test_a_published_version_is_found_as_the_newest(tmp_path: Path, index: Path) -> None:
    address = publish(index, str(tmp_path / "root"), 0.95, QUIET)
    assert local_index(str(tmp_path / "root"), tmp_path) == Path(address)
    assert read_manifest(Path(address)) == read_manifest(index)
    assert (Path(address) / "knn.index").read_bytes() == b"index" * 100


def test_publishing_again_changes_nothing(tmp_path: Path, index: Path) -> None:
    address = Path(publish(index, str(tmp_path / "root"), 0.95, QUIET))
    stamps = {path: path.stat().st_mtime_ns for path in address.iterdir()}
    assert publish(index, str(tmp_path / "root"), 0.95, QUIET) == str(address)
    assert {path: path.stat().st_mtime_ns for path in address.iterdir()} == stamps


def test_the_manifest_goes_last(tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    put = LocalTarget.put
    monkeypatch.setattr(
        LocalTarget, "put", lambda self, path, name, *rest: (order.append(name), put(self, path, name, *rest))
    )
    publish(index, str(tmp_path / "root"), 0.95, QUIET)
    assert sorted(order) == ["knn.index", "manifest.json", "passages.arrow"]
    assert order[-1] == MANIFEST


def test_a_publication_that_broke_off_is_not_opened_and_goes_on(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = LocalTarget.put

    def break_off(self: LocalTarget, path: Path, name: str, facts: FileFacts, progress: object) -> None:
        if name == "passages.arrow":
            raise OSError("the disk went away")
        put(self, path, name, facts, progress)  # type: ignore[arg-type]

    with monkeypatch.context() as broken:
        broken.setattr(LocalTarget, "put", break_off)
        with pytest.raises(OSError, match="went away"):
            publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1")
    assert not (tmp_path / "root" / "v1" / MANIFEST).exists()
    publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1")
    assert read_manifest(tmp_path / "root" / "v1").files.keys() == {"knn.index", "passages.arrow"}


def test_another_index_under_the_version_of_one_that_broke_off_is_published_whole(
    tmp_path: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("index_builder.publish.MANIFEST", "no/such/file")
        with pytest.raises(OSError, match="no/such/file"):
            publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1")
    assert not (tmp_path / "root" / "v1" / MANIFEST).exists()
    (index / "knn.index").write_bytes(b"other" * 100)
    files = {name: file_facts(index / name) for name in ("knn.index", "passages.arrow")}
    store_manifest(index, made_up_manifest(files, recall=0.98))
    published = Path(publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1"))
    assert {name: file_facts(published / name) for name in files} == read_manifest(published).files


@pytest.mark.parametrize(
    ("recall", "reason"), [(None, "was not evaluated"), (0.5, r"recall@10 of 0\.5; at least 0\.95 is legal")]
)
def test_a_poor_index_is_not_published(tmp_path: Path, index: Path, recall: float | None, reason: str) -> None:
    change_index(index, recall={} if recall is None else {"recall@10": recall})
    with pytest.raises(PublishError, match=reason):
        publish(index, str(tmp_path / "root"), 0.95, QUIET)
    assert not (tmp_path / "root").exists()


def test_a_damaged_file_is_not_published(tmp_path: Path, index: Path) -> None:
    (index / "knn.index").write_bytes(b"other" * 100)
    with pytest.raises(PublishError, match=r"knn\.index is not what the manifest describes"):
        publish(index, str(tmp_path / "root"), 0.95, QUIET)


def test_a_version_is_never_written_over(tmp_path: Path, index: Path) -> None:
    publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1")
    change_index(index, recall={"recall@10": 0.99})
    with pytest.raises(PublishError, match="holds another index already"):
        publish(index, str(tmp_path / "root"), 0.95, QUIET, "v1")


def change_index(folder: Path, **changes: object) -> None:
    manifest: Manifest = read_manifest(folder)
    index: IndexFacts = msgspec.structs.replace(manifest.index, **changes)
    (folder / MANIFEST).write_bytes(encode_manifest(msgspec.structs.replace(manifest, index=index)))
