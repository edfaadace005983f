"""How large the endpoint's artifacts are, and whether they have been uploaded whole."""

from __future__ import annotations

from pathlib import Path

from deploy.aws.api import Aws, Call, Say
from deploy.errors import DeployError
from deploy.specification.endpoint_file import Artifact, EndpointFile
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri


def artifact_bytes(aws: Aws, file: EndpointFile, say: Say) -> int | None:
    """Bytes of all artifacts together; None in a dry run where a folder is not on this machine.

    Raises:
        DeployError: an artifact is not in S3, or its upload did not finish.
    """
    sizes = [_size(aws, name, artifact, say=say) for name, artifact in file.artifacts.present().items()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def buckets(file: EndpointFile) -> list[str]:
    """Every bucket that `file` names, once."""
    places = [artifact.s3 for artifact in file.artifacts.present().values()]
    if file.image.codebuild_source:
        places.append(file.image.codebuild_source)
    return list(dict.fromkeys(split_uri(place)[0] for place in places))


def list_objects(uri: str) -> Call:
    """ListObjectsV2 of everything under `uri`."""
    bucket, prefix = split_uri(uri)
    return Call("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": prefix})


def list_uploads(uri: str) -> Call:
    """ListMultipartUploads of everything under `uri`: what a killed upload left, invisible and paid for."""
    bucket, prefix = split_uri(uri)
    return Call("s3", "ListMultipartUploads", {"Bucket": bucket, "Prefix": prefix})


def folder_bytes(folder: Path) -> int:
    """Bytes of the files under `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _size(aws: Aws, name: str, artifact: Artifact, say: Say) -> int | None:
    objects = aws.pages(list_objects(artifact.s3), "Contents")
    if aws.dry:
        return folder_bytes(artifact.folder) if artifact.folder and artifact.folder.is_dir() else None
    if not objects:
        raise DeployError(f"artifacts.{name}: nothing under {artifact.s3}; run: python -m deploy upload")
    keys = {entry["Key"] for entry in objects}
    if artifact.s3.split("/", 3)[3] + MANIFEST not in keys:
        _check_unfinished(name, artifact)
        say(f"artifacts.{name}: {artifact.s3} has no {MANIFEST}; it is served without verification")
    return sum(int(entry["Size"]) for entry in objects)


def _check_unfinished(name: str, artifact: Artifact) -> None:
    if artifact.folder and (artifact.folder / MANIFEST).is_file():
        raise DeployError(f"artifacts.{name}: the upload to {artifact.s3} did not finish; run: python -m deploy upload")
