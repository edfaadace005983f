"""Upload the packaged folders that endpoint.toml names to S3; a second run sends only what is missing."""

from __future__ import annotations

import argparse

from deploy import cli
from deploy.aws.api import Aws, Call
from deploy.errors import DeployError
from deploy.specification.endpoint_file import Artifact
from deploy.storage.folder_upload import FolderUpload
from server.artifacts.listing import split_uri


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `upload`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("artifact", nargs="*", help="chat, moderation, index ... (default: all with a folder)")
    parser.add_argument("--replace", action="store_true", help="write over another package at the same prefix")
    parser.add_argument("--workers", type=int, default=4, help="files at a time (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Uploads each artifact that has a folder."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    present = file.artifacts.present()
    for name in arguments.artifact or [name for name, artifact in present.items() if artifact.folder]:
        artifact = present.get(name)
        if artifact is None or artifact.folder is None:
            raise DeployError(f"artifacts.{name}.folder is not in {arguments.file}; it names what to upload")
        _check_bucket(aws, artifact)
        upload = FolderUpload(
            aws,
            artifact.folder,
            artifact.s3,
            key=file.encryption.storage_key,
            num_workers=arguments.workers,
            say=cli.say,
        )
        upload.run(arguments.replace)
    return 0


def _check_bucket(aws: Aws, artifact: Artifact) -> None:
    bucket, _ = split_uri(artifact.s3)
    if aws.find(Call("s3", "HeadBucket", {"Bucket": bucket}), assumed={}) is None:
        raise DeployError(f"there is no bucket {bucket}; make it with: python -m deploy prepare")
