"""What costs money around an endpoint, and how each piece is taken away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from deploy.account.account import Account
from deploy.account.policies import table_name
from deploy.aws.api import Aws, Call
from deploy.endpoint import requests
from deploy.endpoint.endpoint import Endpoint
from deploy.errors import DeployError
from deploy.image import codebuild
from deploy.image.ecr import describe_repository
from deploy.specification import names
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import log_group
from deploy.storage.artifact_sizes import list_objects, list_uploads
from server.artifacts.listing import split_uri

_OBJECTS_A_REQUEST = 1000
_SHOWN_KEYS = 3


@dataclass(frozen=True)
class Removal:
    """One thing that exists, in words, and its end."""

    what: str
    remove: Callable[[], None]


@dataclass(frozen=True)
class Remains:
    """One thing of ours that exists and that is not taken away with what is in it, in words."""

    what: str


class Remover:
    """Finds what belongs to the endpoint of `file`. Nothing is removed until a Removal's `remove` is called."""

    def __init__(self, aws: Aws, file: EndpointFile, endpoint: Endpoint, account: Account) -> None:
        self._aws = aws
        self._file = file
        self._endpoint = endpoint
        self._account = account

    def endpoint_parts(self) -> Iterator[Removal]:
        """The endpoint with its autoscaling, then the configurations and models made for it."""
        assumed = {"EndpointStatus": "InService"}
        if self._aws.find(requests.describe_endpoint(self._file.name), assumed) is not None:
            yield Removal(f"endpoint {self._file.name} and its autoscaling", self._endpoint.remove_endpoint)
            if self._aws.find(requests.describe_endpoint(self._file.name)) is not None:
                return  # it still needs its configuration and model
        for config in self._owned("ListEndpointConfigs", "EndpointConfigs", "EndpointConfigName"):
            yield self._simple("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": config})
        for model in self._owned("ListModels", "Models", "ModelName"):
            yield self._simple("sagemaker", "DeleteModel", {"ModelName": model})

    def surroundings(self) -> Iterator[Removal | Remains]:
        """Conversations, image, uploaded artifacts, builds and logs: everything else that is paid for."""
        yield from self._table()
        yield from self._repository()
        for name, artifact in self._file.artifacts.present().items():
            yield from self._objects(f"artifacts.{name}", artifact.s3)
        yield from self._builds()
        yield from self._logs(log_group(self._file.name))
        yield from self._account_parts()

    def _account_parts(self) -> Iterator[Removal | Remains]:
        for bucket, keys in self._account.own_buckets():
            if keys:
                more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
                yield Remains(f"bucket {bucket}, which holds {', '.join(keys[:_SHOWN_KEYS])}{more}")
            else:
                yield Removal(f"empty bucket {bucket}", partial(self._account.delete_bucket, bucket))
        for role in self._account.own_roles():
            yield Removal(f"role {role}", partial(self._account.delete_role, role))

    def _owned(self, operation: str, key: str, name: str) -> list[str]:
        listing = Call("sagemaker", operation, {"NameContains": f"{self._file.name}-"})
        found = self._aws.pages(listing, key, assumed=[{name: f"{self._file.name}-{'0' * 12}"}])
        return [item[name] for item in found if names.belongs_to(self._file.name, item[name])]

    def _table(self) -> Iterator[Removal]:
        name = table_name(self._file)
        if name is None:
            return
        table = {"TableName": name}
        found = self._aws.find(Call("dynamodb", "DescribeTable", table), assumed={"Table": {}})
        if found is not None:
            items = found["Table"].get("ItemCount", "an unknown number of")
            yield self._simple(
                "dynamodb", "DeleteTable", table, what=f"DynamoDB table with {items} items of conversations"
            )

    def _repository(self) -> Iterator[Removal]:
        if self._file.image.uri or self._aws.find(describe_repository(self._file), assumed={}) is None:
            return
        repository = {"repositoryName": self._file.image.repository}
        tags = self._aws.pages(Call("ecr", "DescribeImages", repository), "imageDetails")
        names = ", ".join(sorted(tag for image in tags for tag in image.get("imageTags", []))) or "none"
        parameters = {**repository, "force": True}
        yield self._simple(
            "ecr", "DeleteRepository", parameters, what=f"ECR repository, {len(tags)} images, tags {names}, of"
        )

    def _objects(self, what: str, uri: str) -> Iterator[Removal]:
        bucket, prefix = split_uri(uri)
        if self._aws.find(Call("s3", "HeadBucket", {"Bucket": bucket}), assumed={}) is None:
            return
        assumed = {"Key": f"{prefix}manifest.json", "Size": 0, "UploadId": "0"}
        objects = self._aws.pages(list_objects(uri), "Contents", [assumed])
        uploads = self._aws.pages(list_uploads(uri), "Uploads", [assumed])
        if not objects and not uploads:
            return
        size_gb = sum(int(entry["Size"]) for entry in objects) / 1e9
        unfinished = f" and {len(uploads)} unfinished uploads" if uploads else ""

        def remove() -> None:
            for upload in uploads:
                parameters = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._aws.find(Call("s3", "AbortMultipartUpload", parameters))
            self._delete_objects(bucket, [str(entry["Key"]) for entry in objects])

        yield Removal(f"{what}: {len(objects)} objects, {size_gb:.1f} GB{unfinished}, under {uri}", remove)

    def _delete_objects(self, bucket: str, keys: list[str]) -> None:
        """Raises DeployError when S3 keeps some, which it says key by key in an answer that is no error."""
        kept: list[dict[str, Any]] = []
        for start in range(0, len(keys), _OBJECTS_A_REQUEST):
            batch = [{"Key": key} for key in keys[start : start + _OBJECTS_A_REQUEST]]
            deletion = {"Bucket": bucket, "Delete": {"Objects": batch, "Quiet": True}}
            kept += self._aws.send(Call("s3", "DeleteObjects", deletion)).get("Errors", [])
        if kept:
            first = f"{kept[0].get('Key')}: {kept[0].get('Code')}: {kept[0].get('Message')}"
            raise DeployError(f"S3 keeps {len(kept)} of {len(keys)} objects, the first is {first}")

    def _builds(self) -> Iterator[Removal]:
        if self._file.image.codebuild_source:
            yield from self._objects("zipped sources", self._file.image.codebuild_source)
        if self._file.image.codebuild_role and codebuild.project_exists(self._aws, self._file, assumed=True):
            name = names.build_project(self._file)
            yield self._simple("codebuild", "DeleteProject", {"name": name})
            yield from self._logs(codebuild.log_group(self._file))

    def _logs(self, group: str) -> Iterator[Removal]:
        listing = Call("logs", "DescribeLogGroups", {"logGroupNamePrefix": group})
        for found in self._aws.pages(listing, "logGroups", assumed=[{"logGroupName": group}]):
            if found["logGroupName"] == group:
                yield self._simple("logs", "DeleteLogGroup", {"logGroupName": group})

    def _simple(self, service: str, operation: str, parameters: dict[str, Any], what: str = "") -> Removal:
        name = next(iter(parameters.values()))
        noun = what or operation.removeprefix("Delete")
        return Removal(f"{noun} {name}", lambda: _ignore(self._aws.find(Call(service, operation, parameters))))


def _ignore(_: Any) -> None:
    """An answer that says nothing more than that it is done."""
