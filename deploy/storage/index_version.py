"""Which version of an index is served: of several below one prefix the newest, pinned when an endpoint is made.

`index_builder publish` writes each version into a folder of its own. SageMaker copies everything below the prefix that
a model names, so a prefix above the versions would bring all of them to every instance.
"""

from __future__ import annotations

import json
from typing import Any

from deploy.aws.api import Aws, Call, Say
from deploy.errors import DeployError
from deploy.specification.endpoint_file import EndpointFile
from deploy.storage.artifact_sizes import list_objects
from server.artifacts.folder import MANIFEST
from server.artifacts.listing import split_uri


def with_pinned_index(aws: Aws, file: EndpointFile, say: Say) -> EndpointFile:
    """`file` with artifacts.index at one version; as it is without an index, and in a dry run, which reads nothing."""
    index = file.artifacts.index
    if index is None or aws.dry:
        return file
    version = newest_version(aws, index.s3)
    if version is None:
        return file
    say(f"artifacts.index: {version} is the newest version under {index.s3}")
    artifacts = file.artifacts.model_copy(update={"index": index.model_copy(update={"s3": version})})
    return file.model_copy(update={"artifacts": artifacts})


def newest_version(aws: Aws, uri: str) -> str | None:
    """The newest version below `uri`; None when it is an index itself, or holds none."""
    bucket, prefix = split_uri(uri)
    names = {str(entry["Key"]).removeprefix(prefix) for entry in aws.pages(list_objects(uri), "Contents")}
    versions = [name.removesuffix(MANIFEST) for name in names if name.count("/") == 1 and name.endswith(f"/{MANIFEST}")]
    if MANIFEST in names or not versions:
        return None
    dated = {version: _created(aws, bucket, f"{prefix}{version}{MANIFEST}") for version in versions}
    return f"s3://{bucket}/{prefix}{max(dated, key=lambda version: (dated[version], version))}"


def _created(aws: Aws, bucket: str, key: str) -> str:
    answer = aws.send(Call("s3", "GetObject", {"Bucket": bucket, "Key": key}))
    try:
        manifest: Any = json.loads(answer["Body"].read())
        return str(manifest["created"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"s3://{bucket}/{key}: no manifest of an index: {error}") from error
