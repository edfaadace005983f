"""The IAM documents of deploy/account/iam, filled in for one endpoint."""

from __future__ import annotations

import json
from importlib import resources
from string import Template
from urllib.parse import urlsplit

from deploy.aws.partitions import dns_suffix
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import build_project, index_job_prefix
from deploy.storage.artifact_sizes import buckets
from server.artifacts.listing import split_uri

TABLE_PREFIX = "dynamodb://"


def trust(file: EndpointFile, service: str) -> str:
    """Who may take the role on: the service, for this account's own resources."""
    return _for(file, "trust", SERVICE=service)


def endpoint_policies(file: EndpointFile) -> dict[str, str]:
    """What the container's role may do, by the name of each inline policy."""
    policies = {"endpoint": _for(file, "endpoint")}
    for name, artifact in file.artifacts.present().items():
        bucket, prefix = split_uri(artifact.s3)
        policies[f"artifact-{name}"] = _for(file, "artifact", BUCKET=bucket, PREFIX=prefix)
    if source := str(file.settings.get("api_keys_source", "")):
        parts = urlsplit(source)
        policies["api-keys"] = _for(file, "object", BUCKET=parts.netloc, KEY=parts.path.lstrip("/"))
    if file.encryption.storage_key:
        policies["key"] = _for(file, "key", KEY=_key_arn(file, file.encryption.storage_key))
    if file.instance.ssm_access:
        policies["shell"] = _for(file, "shell")
    if file.network.subnets:
        policies["network"] = _for(file, "network")
    if file.asynchronous:
        places = [place for place in (file.asynchronous.output, file.asynchronous.failures) if place]
        for number, place in enumerate(places, 1):
            bucket, prefix = split_uri(place)
            policies[f"answers-{number}"] = _for(file, "answers", BUCKET=bucket, PREFIX=prefix)
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


def index_policies(file: EndpointFile) -> dict[str, str]:
    """What the job that builds the index may do: read documents and encoder, write below artifacts.index."""
    job, index, encoder = file.index_job, file.artifacts.index, file.artifacts.encoder
    if job is None or index is None or encoder is None:
        return {}
    found = {"index": _for(file, "index_job", **_place(index.s3))}
    for name, uri in (("source", job.source), ("encoder", encoder.s3)):
        found[name] = _for(file, "artifact", **_place(uri))
    if file.encryption.storage_key:
        found["key"] = _for(file, "index_key", KEY=_key_arn(file, file.encryption.storage_key))
    if file.network.subnets:
        found["network"] = _for(file, "network")
    return found


def deployer_policy(file: EndpointFile) -> str:
    """What a person needs for every command on this file but those that make and remove roles (`preparer_policy`).

    SageMaker writes names in ARNs in lower case.
    """
    parts = [_for(file, "deployer", ENDPOINT=file.name.lower(), TABLE=table_name(file) or "no-table")]
    for number, bucket in enumerate(buckets(file), 1):
        parts.append(_for(file, "deployer_bucket", BUCKET=bucket, NUMBER=str(number) if number > 1 else ""))
    if file.index_job:
        parts.append(_for(file, "deployer_index", JOB=index_job_prefix(file).lower(), **_place(file.index_job.source)))
    for use in ("storage_key", "volume_key"):
        key = getattr(file.encryption, use)
        if key:
            parts.append(_for(file, f"deployer_{use}", KEY=_key_arn(file, key)))
    documents = [json.loads(part) for part in parts]
    statements = [statement for document in documents for statement in document["Statement"]]
    return json.dumps({**documents[0], "Statement": statements})


def preparer_policy(file: EndpointFile) -> str:
    """What `prepare` and `delete --everything` need besides.

    Whoever has it can give the file's roles any right of the account, and so himself: it is an administrator's.
    """
    return _for(file, "preparer")


def table_name(file: EndpointFile) -> str | None:
    """The DynamoDB table of conversations, where there is one."""
    store = str(file.settings.get("store", ""))
    return store.removeprefix(TABLE_PREFIX) if store.startswith(TABLE_PREFIX) else None


def _place(uri: str) -> dict[str, str]:
    """An S3 address as policies name it: everything that begins with it."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return {"BUCKET": bucket, "PREFIX": prefix}


def _key_arn(file: EndpointFile, key: str) -> str:
    """The key as a policy names it. It cannot name an alias: then every key of the account, for the service alone."""
    if ":key/" in key:
        return key
    key_id = "*" if "alias/" in key else key
    return f"arn:aws:kms:{file.region}:{file.account}:key/{key_id}"


def _for(file: EndpointFile, name: str, **more: str) -> str:
    roles = [role for role in (file.role, file.image.codebuild_role, file.index_job and file.index_job.role) if role]
    values = {
        "REGION": file.region,
        "ACCOUNT": file.account,
        "REPOSITORY": file.image.repository,
        "PROJECT": build_project(file),
        "NAME": file.name,
        "ROLES": json.dumps(roles),
        "SUFFIX": dns_suffix(file.partition),
        **more,
    }
    return _filled(name, values, file.partition)


def _filled(name: str, values: dict[str, str], partition: str) -> str:
    template = resources.files("deploy.account").joinpath("iam", f"{name}.json").read_text(encoding="utf-8")
    text = Template(template).substitute(values).replace("arn:aws:", f"arn:{partition}:")
    return json.dumps(json.loads(text), separators=(",", ":"))
