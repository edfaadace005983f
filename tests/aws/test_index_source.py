"""A source in S3 gives the index that its files give here."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest

from index_builder.build import passage_inputs
from index_builder.documents import ReadReport, SourceError, open_source, read_documents
from index_builder.documents.source import forget_fetched
from index_builder.passages.passage_shards import PassageRequest

PAGES = {"a/owls.md": "# Owls\n\nOwls hunt.", "mice.txt": "Mice hide.", ".hidden": "x", "manifest.json": "{}"}


@pytest.fixture
def bucket(aws_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    name = f"sources-{abs(hash(tmp_path))}"
    client = boto3.client("s3")
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for key, text in PAGES.items():
        client.put_object(Bucket=name, Key=f"docs/{key}", Body=text.encode())
        path = tmp_path / "docs" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return name


def read(name: str) -> tuple[list[tuple[str, str]], ReadReport]:
    report = ReadReport()
    return [(each.document_id, each.text) for each in read_documents(name, report)], report


def test_a_prefix_is_read_as_the_folder_is(bucket: str, tmp_path: Path) -> None:
    remote = f"s3://{bucket}/docs/"
    assert read(remote) == read(str(tmp_path / "docs"))
    both = [passage_inputs(open_source(name), PassageRequest(name)) for name in (remote, str(tmp_path / "docs"))]
    assert both[0] == both[1]
    forget_fetched(remote)
    assert list((tmp_path / "index-builds" / "sources").iterdir()) == []


def test_an_object_is_read_as_the_file_is(bucket: str, tmp_path: Path) -> None:
    assert read(f"s3://{bucket}/docs/mice.txt")[0] == [("mice.txt", "Mice hide.")]


@pytest.mark.parametrize("name", ["docs/none.md", "nothing/"])
def test_what_is_not_there_is_told(bucket: str, name: str) -> None:
    with pytest.raises(SourceError, match=f"--source 's3://{bucket}/{name}'"):
        open_source(f"s3://{bucket}/{name}")
