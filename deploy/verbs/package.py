"""Checkpoints to packaged folders: each rank's own tensors, checksums, and golden answers that are checked at start.

Each model goes into a folder of its own under --out: chat, moderation, output_moderation. A run that was stopped goes
on where it was; over a finished folder it does nothing. No GPU is needed, and no more memory than the largest tensor.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deploy import cli
from deploy.aws.api import Aws, Call, DryRun, LiveAws
from deploy.errors import DeployError
from deploy.packaging import preview as package_preview
from deploy.packaging.checkpoint import Checkpoint, CheckpointFinder
from deploy.packaging.encoder import write_encoder
from deploy.storage.folder_upload import FolderUpload
from deploy.storage.progress import Progress
from server.artifacts.error import ArtifactError
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri
from server.dtypes import DTYPES, PACKAGED_DTYPES

if TYPE_CHECKING:
    from server.engine.package.packager import PackageJob

_S3 = "s3://"
_ROLES = ("chat", "moderation", "output_moderation")  # models, cut for ranks
_ENCODER = "encoder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `package`."""
    what = "a checkpoint folder, a .gguf file, or a hub id with an optional @revision"
    parser.add_argument("--chat", metavar="MODEL", help=f"the chat model: {what}")
    parser.add_argument("--moderation", metavar="MODEL", help="the model that judges prompts, and replies too")
    parser.add_argument("--output-moderation", metavar="MODEL", help="another model to judge replies")
    parser.add_argument("--encoder", metavar="MODEL", help="what turns questions and passages into vectors")
    parser.add_argument(
        "--adapter", metavar="DIR", type=Path, nargs="+", default=[], help="LoRA adapters to merge into the chat model"
    )
    parser.add_argument("--tensor-parallel-degree", type=int, default=4, help="ranks (default: %(default)s)")
    parser.add_argument(
        "--dtype",
        choices=PACKAGED_DTYPES,
        default="float16",
        help="of the stored tensors; int8 and, of the others, int4 are made from them at start (default: %(default)s)",
    )
    parser.add_argument("--out", required=True, help="a folder, or an s3:// prefix")
    parser.add_argument(
        "--staging", type=Path, default=Path("packaged"), help="where an s3:// package is made (default: %(default)s)"
    )
    parser.add_argument("--region", help="of the bucket (default: boto3's own choice)")
    parser.add_argument("--profile", help="the AWS profile to use (default: boto3's own choice)")
    parser.add_argument("--kms-key", help="the KMS key of the uploaded objects (default: the bucket's own)")
    parser.add_argument(
        "--dry-run", action="store_true", help="print downloads, files and requests as JSON lines; do none of it"
    )


def run(arguments: argparse.Namespace) -> int:
    """Packages every model that is named; prints the settings that serve them."""
    wanted = {role: value for role in (*_ROLES, _ENCODER) if (value := getattr(arguments, role))}
    if not wanted:
        raise DeployError("nothing to package: give --chat, --moderation, --output-moderation or --encoder")
    if arguments.adapter and "chat" not in wanted:
        raise DeployError("--adapter is merged into the chat model: give --chat")
    if arguments.tensor_parallel_degree < 1:
        raise DeployError(f"--tensor-parallel-degree {arguments.tensor_parallel_degree}: at least 1")
    bucket = _Bucket(arguments) if arguments.out.startswith(_S3) else None
    target = arguments.staging if bucket else Path(arguments.out)
    finder = CheckpointFinder(package_preview.PrintedDownloads(sys.stdout)) if arguments.dry_run else CheckpointFinder()
    checkpoints = {role: finder.find(_flag(role), value, role == _ENCODER) for role, value in wanted.items()}
    if arguments.dry_run:
        for role, checkpoint in checkpoints.items():
            _preview(role, checkpoint, target / role, arguments=arguments, bucket=bucket)
        return 0
    for role, checkpoint in checkpoints.items():
        _package(role, checkpoint, target / role, arguments=arguments)
        place = bucket.upload(target / role, role) if bucket else str((target / role).resolve())
        print(f"{_setting(role)}={place}")
    if set(checkpoints) != {_ENCODER}:
        print(f"OCK_TENSOR_PARALLEL_DEGREE={arguments.tensor_parallel_degree}")
    return 0


def _setting(role: str) -> str:
    return "OCK_ENCODER" if role == _ENCODER else f"OCK_{role.upper()}_MODEL"


def _package(role: str, checkpoint: Checkpoint, out: Path, arguments: argparse.Namespace) -> None:
    if role == _ENCODER:
        cli.say(f"{role}: {checkpoint.name} {checkpoint.revision}".rstrip() + f" into {out}")
        write_encoder(checkpoint, out)
        return
    # torch and DeepSpeed take seconds to import; a wrong flag must not wait for them. No GPU is looked for.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from server.engine.package.packager import PackageError, write_package
    from server.engine.weights.sources import WeightsError

    try:
        with _checkpoint_folder(checkpoint, out, arguments.dtype) as folder:
            job = _job(folder, checkpoint, role, out=out, arguments=arguments)
            cli.say(f"{role}: {checkpoint.name} {checkpoint.revision}".rstrip() + f" into {out}")
            write_package(job, _Told(job))
    except (PackageError, WeightsError) as error:
        raise DeployError(f"{_flag(role)}: {error}") from error


@contextmanager
def _checkpoint_folder(checkpoint: Checkpoint, out: Path, dtype: str) -> Iterator[Path]:
    """The folder to package; of a GGUF file one that is there meanwhile."""
    if checkpoint.folder.is_dir():
        yield checkpoint.folder
        return
    import torch

    from server.engine.package.gguf import convert_gguf

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".gguf-") as scratch:
        cli.say(f"{checkpoint.name}: reading")
        convert_gguf(checkpoint.folder, Path(scratch), getattr(torch, DTYPES[dtype].compute))
        yield Path(scratch)


def _job(folder: Path, checkpoint: Checkpoint, role: str, out: Path, arguments: argparse.Namespace) -> PackageJob:
    from server.engine.package.packager import PackageJob

    return PackageJob(
        source=folder,
        out=out,
        degree=arguments.tensor_parallel_degree,
        dtype=arguments.dtype,
        source_name=checkpoint.name,
        revision=checkpoint.revision,
        adapters=tuple(arguments.adapter) if role == "chat" else (),
    )


def _preview(
    role: str, checkpoint: Checkpoint, out: Path, arguments: argparse.Namespace, bucket: _Bucket | None
) -> None:
    if not (out / MANIFEST).is_file() and role == _ENCODER:
        print(json.dumps({"write": str(out), "num_bytes": None}))
        return
    if not (out / MANIFEST).is_file():
        files = package_preview.planned_files(checkpoint, arguments.tensor_parallel_degree, arguments.dtype)
        package_preview.print_files(files, out, sys.stdout)
        if bucket:
            bucket.print_requests(out, role, list(files))
        return
    cli.say(f"{role}: {out} is packaged already; a real run compares it with what is asked for")
    if bucket:
        bucket.upload(out, role)


class _Told:
    """Tells the person how far each file is."""

    def __init__(self, job: PackageJob) -> None:
        self._out = job.out
        self._file = ""
        self._done = 0
        self._progress: Progress | None = None

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self._file:
            self._file, self._done = name, 0
            self._progress = Progress(total, str(self._out / name), cli.say)
        assert self._progress is not None
        self._progress.advance(done - self._done)
        self._done = done


class _Bucket:
    """The s3:// prefix that --out names, looked for before the work begins."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        dry = arguments.dry_run
        self._aws: Aws = DryRun(sys.stdout) if dry else LiveAws(arguments.region, arguments.profile)
        self._prefix = arguments.out.rstrip("/")
        self._key = arguments.kms_key
        try:
            bucket, _ = split_uri(arguments.out)
        except ArtifactError as error:
            raise DeployError(f"--out {arguments.out}: no bucket; write s3://bucket/prefix") from error
        if self._aws.find(Call("s3", "HeadBucket", {"Bucket": bucket}), assumed={}) is None:
            raise DeployError(f"there is no bucket {bucket}; make it with: aws s3 mb s3://{bucket}")

    def upload(self, folder: Path, role: str) -> str:
        """Sends `folder`; where it is then."""
        uri = self._place(role)
        FolderUpload(self._aws, folder, uri, key=self._key, num_workers=4, say=cli.say).run()
        return uri

    def print_requests(self, folder: Path, role: str, names: list[str]) -> None:
        """The dry run's PutObject of each file of a `folder` that has not been made."""
        bucket, prefix = split_uri(self._place(role))
        for name in names:
            body = f"<{folder / name}, in parts if long>"
            self._aws.send(Call("s3", "PutObject", {"Bucket": bucket, "Key": prefix + name, "Body": body}))

    def _place(self, role: str) -> str:
        return f"{self._prefix}/{role}/"


def _flag(role: str) -> str:
    return f"--{role.replace('_', '-')}"
