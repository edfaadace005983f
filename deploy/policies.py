"""The IAM documents of deploy/iam, filled in for one endpoint."""

from __future__ import annotations

import json
from importlib import resources
from string import Template

from deploy.artifact_sizes import split_uri
from deploy.endpoint_file import EndpointFile

TABLE_PREFIX = "dynamodb://"


def trust(service: str) -> str:
    """Who may take the role on."""
    return _filled("trust", {"SERVICE": service}, "aws")


def endpoint_policies(file: EndpointFile) -> dict[str, str]:
    """What the container's role may do, by the name of each inline policy."""
    policies = {"endpoint": _for(file, "endpoint")}
    for name, artifact in file.artifacts.present().items():
        bucket, prefix = split_uri(artifact.s3)
        policies[f"artifact-{name}"] = _for(file, "artifact", BUCKET=bucket, PREFIX=prefix)
    if file.encryption.storage_key:
        policies["key"] = _for(file, "key")
    if file.network.subnets:
        policies["network"] = _for(file, "network")
    if table_name(file):
        policies["conversations"] = _for(file, "dynamodb", TABLE=str(table_name(file)))
    return policies


def build_policies(file: EndpointFile) -> dict[str, str]:
    """What CodeBuild's role may do."""
    policies = {"build": _for(file, "build")}
    if file.image.codebuild_source:
        bucket, prefix = split_uri(file.image.codebuild_source)
        policies["sources"] = _for(file, "artifact", BUCKET=bucket, PREFIX=prefix)
    return policies


def deployer_policy(file: EndpointFile) -> str:
    """What a person needs for every command of deploy on this file, with one bucket for all artifacts."""
    buckets = [split_uri(artifact.s3)[0] for artifact in file.artifacts.present().values()]
    return _for(
        file,
        "deployer",
        ENDPOINT=file.name,
        BUCKET=buckets[0] if buckets else "no-bucket",
        TABLE=table_name(file) or "no-table",
    )


def table_name(file: EndpointFile) -> str | None:
    """The DynamoDB table of conversations, where there is one."""
    store = str(file.settings.get("store", ""))
    return store.removeprefix(TABLE_PREFIX) if store.startswith(TABLE_PREFIX) else None


def _for(file: EndpointFile, name: str, **more: str) -> str:
    values = {"REGION": file.region, "ACCOUNT": file.account, "REPOSITORY": file.image.repository, **more}
    return _filled(name, values, file.role.split(":")[1])


def _filled(name: str, values: dict[str, str], partition: str) -> str:
    template = resources.files("deploy").joinpath("iam", f"{name}.json").read_text(encoding="utf-8")
    text = Template(template).substitute(values).replace("arn:aws:", f"arn:{partition}:")
    return json.dumps(json.loads(text), separators=(",", ":"))
