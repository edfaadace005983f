"""Folders from S3: whole, verified, fetched once, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from server.artifacts import ranged_download
from server.artifacts.error import ArtifactError, ChecksumError
from server.artifacts.fetch import fetch_prefix
from server.artifacts.folder_lock import FolderLock
from tests.aws.faulty_s3 import Fault, FaultyS3

PART = 1 << 16
FETCH = """
import sys
from pathlib import Path
from server.artifacts import ranged_download
from server.artifacts.fetch import fetch_prefix
ranged_download.PART_BYTES = {part}
fetch_prefix(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_download, "PART_BYTES", PART)


@pytest.fixture
def s3(aws_url: str) -> Any:
    return boto3.client("s3")


@pytest.fixture
def proxy(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """A proxy that the code under test talks to, while `s3` talks to moto."""
    proxy = FaultyS3(aws_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture
def published(s3: Any, request: pytest.FixtureRequest) -> tuple[str, dict[str, bytes]]:
    """The address of a published folder, and what it holds."""
    files = {
        "knn.index": random.Random(1).randbytes(5 * PART + 17),
        "sub/passages.arrow": random.Random(2).randbytes(3 * PART),
        "empty": b"",
    }
    return publish(s3, f"bucket-{zlib.crc32(request.node.name.encode())}", "indexes/v1", files), files


def publish(s3: Any, bucket: str, prefix: str, files: dict[str, bytes]) -> str:
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    checksums = {name: {"sha256": hashlib.sha256(body).hexdigest()} for name, body in files.items()}
    files["manifest.json"] = json.dumps({"files": checksums}).encode()
    for name, body in files.items():
        s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)
    return f"s3://{bucket}/{prefix}"


def holds(folder: Path, files: dict[str, bytes]) -> bool:
    return all((folder / name).read_bytes() == body for name, body in files.items())


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".part" in path.name]


def finished_parts(folder: Path) -> int:
    return sum(path.read_text().count(";") for path in folder.rglob("*.part.done"))


def wait_until(holds: Callable[[], bool], deadline_s: float = 60) -> None:
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start_fetch(uri: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FETCH.format(part=PART), uri, str(folder)], env=dict(os.environ))


def test_a_fetched_folder_holds_what_was_published(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, files = published
    heard: list[tuple[int, int]] = []
    folder = fetch_prefix(uri, tmp_path / "index", progress=lambda *counts: heard.append(counts))
    assert holds(folder, files)
    assert drafts(folder) == []
    total = sum(map(len, files.values()))
    assert heard[-1] == (total, total)
    assert heard == sorted(heard)


def test_a_folder_that_is_there_is_not_fetched_again(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, _ = published
    fetch_prefix(uri, tmp_path / "index")
    proxy.ranges.clear()
    fetch_prefix(uri, tmp_path / "index")
    assert proxy.ranges == []


def test_a_file_lost_from_the_folder_is_fetched_alone(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, files = published
    folder = fetch_prefix(uri, tmp_path / "index")
    proxy.ranges.clear()
    (folder / "sub/passages.arrow").unlink()
    fetch_prefix(uri, folder)
    assert holds(folder, files)
    assert {read.split()[0].rsplit("/", 1)[1] for read in proxy.ranges} == {"passages.arrow"}


def test_a_fetch_that_was_killed_goes_on_where_it_stopped(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, files = published
    folder = tmp_path / "index"
    proxy.faults.extend([None, None, None, *[Fault.HELD] * 20])
    child = start_fetch(uri, folder)
    wait_until(lambda: finished_parts(folder) == 3)
    os.kill(child.pid, signal.SIGKILL)
    child.wait(30)
    proxy.faults.clear()
    proxy.release.set()
    proxy.ranges.clear()
    fetch_prefix(uri, folder)
    assert holds(folder, files)
    assert len(proxy.ranges) == sum(-(-len(body) // PART) for body in files.values()) - 3


def test_two_processes_fetch_a_folder_once(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, files = published
    children = [start_fetch(uri, tmp_path / "index") for _ in range(2)]
    assert [child.wait(120) for child in children] == [0, 0]
    assert holds(tmp_path / "index", files)
    assert len(proxy.ranges) == len(set(proxy.ranges))


@pytest.mark.parametrize("fault", [Fault.FLIPPED, Fault.CUT, Fault.BUSY])
def test_a_fault_on_the_way_is_mended(tmp_path: Path, published: Any, proxy: FaultyS3, fault: Fault) -> None:
    uri, files = published
    proxy.faults.extend([fault, fault])
    assert holds(fetch_prefix(uri, tmp_path / "index"), files)


def test_a_file_that_stays_corrupt_is_refused_by_name(tmp_path: Path, published: Any, proxy: FaultyS3) -> None:
    uri, _ = published
    proxy.always = Fault.FLIPPED
    with pytest.raises(ChecksumError, match=r"knn\.index: sha256 is \w{64}, the manifest says \w{64}"):
        fetch_prefix(uri, tmp_path / "index")
    assert not (tmp_path / "index" / "knn.index").exists()
    assert not (tmp_path / "index" / "manifest.json").exists()


def test_a_file_republished_in_place_is_fetched_anew(tmp_path: Path, published: Any, s3: Any, aws_url: str) -> None:
    uri, files = published
    fetch_prefix(uri, tmp_path / "index")
    bucket = uri.split("/")[2]
    changed = dict(files) | {"knn.index": b"other"}
    del changed["manifest.json"]
    checksums = {name: {"sha256": hashlib.sha256(body).hexdigest()} for name, body in changed.items()}
    changed["manifest.json"] = json.dumps({"files": checksums}).encode()
    for name, body in changed.items():
        s3.put_object(Bucket=bucket, Key=f"indexes/v1/{name}", Body=body)
    assert holds(fetch_prefix(uri, tmp_path / "index"), changed)


def test_what_was_taken_out_of_the_prefix_leaves_the_folder(tmp_path: Path, published: Any, s3: Any) -> None:
    uri, contents = published
    folder = fetch_prefix(uri, tmp_path / "folder")
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"of another cut, and sorted last")
    fetch_prefix(uri, folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.name.startswith(".")}
    assert {name for name in found if (folder / name).is_file()} == set(contents)


def test_a_whole_folder_is_used_while_s3_cannot_be_asked(
    tmp_path: Path, published: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    uri, contents = published
    folder = fetch_prefix(uri, tmp_path / "folder")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert fetch_prefix(uri, folder) == folder
    assert "artifact.unlisted" in caplog.text
    (folder / max(contents)).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        fetch_prefix(uri, folder)


def test_an_empty_prefix_is_refused(tmp_path: Path, s3: Any) -> None:
    s3.create_bucket(Bucket="bare", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with pytest.raises(ArtifactError, match="s3://bare/nothing: there is nothing under this prefix"):
        fetch_prefix("s3://bare/nothing", tmp_path / "index")


def test_a_missing_bucket_is_refused(tmp_path: Path, s3: Any) -> None:
    with pytest.raises(ArtifactError, match="s3://no-such-bucket/x: cannot be read"):
        fetch_prefix("s3://no-such-bucket/x", tmp_path / "index")


def test_what_is_no_s3_address_is_refused(tmp_path: Path, s3: Any) -> None:
    with pytest.raises(ArtifactError, match="legal is s3://bucket/prefix"):
        fetch_prefix("https://example.org/x", tmp_path / "index")


def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, s3: Any) -> None:
    uri = publish(s3, "hostile", "v1", {"../../evil": b"x"})
    with pytest.raises(ArtifactError, match="leads out of the folder"):
        fetch_prefix(uri, tmp_path / "deep" / "index")
    assert list(tmp_path.rglob("evil")) == []


def test_a_half_published_folder_is_refused(tmp_path: Path, published: Any, s3: Any) -> None:
    uri, _ = published
    s3.delete_object(Bucket=uri.split("/")[2], Key="indexes/v1/knn.index")
    with pytest.raises(ArtifactError, match=r"the manifest names 'knn\.index', which is not there"):
        fetch_prefix(uri, tmp_path / "index")


def test_a_full_disk_is_refused_before_anything_is_fetched(
    tmp_path: Path, published: Any, proxy: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 40, (1 << 40) - 1000, 1000))
    with pytest.raises(ArtifactError, match=r"are needed and 0\.0 GiB are free"):
        fetch_prefix(published[0], tmp_path / "index")
    assert proxy.ranges == []


def test_waiting_for_another_process_ends_at_the_deadline(tmp_path: Path, published: Any) -> None:
    with (
        FolderLock(tmp_path / "index", 1),
        pytest.raises(ArtifactError, match=f"process {os.getpid()} held the lock for more than 0.2 s"),
    ):
        fetch_prefix(published[0], tmp_path / "index", deadline_s=0.2)
