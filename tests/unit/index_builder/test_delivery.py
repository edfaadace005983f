"""What `build` ends with: an index above the floor, or status 2 and a sentence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from index_builder import build_verbs
from index_builder.__main__ import main
from index_builder.build_verbs import deliver
from index_builder.progress import Progress
from index_builder.publish import PublishError, S3Target
from server.artifacts.folder import MANIFEST
from server.retrieval.index.manifest import FileFacts, read_manifest
from tests.unit.index_builder.dumps import article, write_dump
from tests.unit.index_builder.manifests import made_up_manifest

QUIET = Progress(quiet=True)


class RefusingClient:
    """Raises one error, whatever it is asked for."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: object, **__: object) -> None:
            raise self._error

        return refuse


def denied(operation: str = "PutObject") -> ClientError:
    return ClientError({"Error": {"Code": "AccessDenied", "Message": "Access\nDenied"}}, operation)


def flags(out: str, recall_floor: float = 0.95) -> argparse.Namespace:
    return argparse.Namespace(out=out, work=None, recall_floor=recall_floor)


def test_a_build_below_the_floor_ends_with_status_2_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = write_dump(tmp_path / "d.xml", article(1), article(2))
    arguments = ["build", "--source", str(dump), "--encoder", "sample", "--out", str(tmp_path / "out")]
    for _ in range(2):  # built, then found finished
        assert main(["--quiet", *arguments, "--recall-floor", "1.01"]) == 2
        told = capsys.readouterr()
        assert "BELOW THE RECALL FLOOR and not published" in told.out
        assert "has a recall@10 of 1.0; at least 1.01 is legal (--recall-floor)" in told.err
    assert read_manifest(tmp_path / "out").index.recall["recall@10"] == 1.0
    assert main(["--quiet", *arguments]) == 0


def test_an_index_below_the_floor_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_verbs, "refuse_unwritable", lambda uri: None)
    monkeypatch.setattr(build_verbs, "publish", lambda *_: pytest.fail("published"))
    with pytest.raises(PublishError, match=r"recall@10 of 0\.5"):
        deliver(flags("s3://b/p"), QUIET, lambda *_: made_up_manifest({}, recall=0.5))


def test_a_bucket_that_refuses_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "client", lambda name: RefusingClient(denied()))
    with pytest.raises(PublishError, match=r"^s3://b/p: An error occurred \(AccessDenied\).*: Access Denied$"):
        deliver(flags("s3://b/p/"), QUIET, lambda *_: pytest.fail("began to build"))


@pytest.mark.parametrize("error", [denied(), EndpointConnectionError(endpoint_url="https://x.example")])
def test_what_s3_raises_is_a_sentence(tmp_path: Path, error: Exception) -> None:
    target = S3Target("s3://b/p", RefusingClient(error))
    (tmp_path / "f").write_bytes(b"x")
    facts = FileFacts(sha256="0", num_bytes=1)
    for ask in (
        target.manifest,
        target.probe,
        lambda: target.has("f", facts),
        lambda: target.put(tmp_path / "f", "f", facts, lambda _: None),
    ):
        with pytest.raises(PublishError, match=r"^s3://b/p: "):
            ask()


def test_an_address_without_a_bucket_is_a_sentence() -> None:
    with pytest.raises(PublishError, match="is no S3 address"):
        S3Target("s3://", RefusingClient(denied()))


def test_what_is_not_there_is_no_error() -> None:
    gone = ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
    target = S3Target("s3://b/p", RefusingClient(gone))
    assert target.manifest() is None
    assert target.has(MANIFEST, FileFacts(sha256="0", num_bytes=1)) is False


def test_a_probe_that_may_not_be_deleted_stays(caplog: pytest.LogCaptureFixture) -> None:
    class WriteOnly(RefusingClient):
        def put_object(self, **_: object) -> None:
            pass

    S3Target("s3://b/p", WriteOnly(denied("DeleteObject"))).probe()
    assert "publish.probe_stays uri=s3://b/p/.write-probe" in caplog.text
