"""What an endpoint needs around it in the account: the roles and the bucket, made once, taken away with the rest.

Only what carries this endpoint's tag, because it was made here, is ever taken away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deploy.account import policies
from deploy.aws.api import Aws, Call, RefusedError, Say
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import OWNER_TAG, tags
from deploy.storage.artifact_sizes import buckets, list_objects

SAGEMAKER, CODEBUILD = "sagemaker.amazonaws.com", "codebuild.amazonaws.com"


class Account:
    """The account of `file`."""

    def __init__(self, aws: Aws, file: EndpointFile, say: Say) -> None:
        self._aws = aws
        self._file = file
        self._say = say

    def prepare(self) -> None:
        """Makes the buckets and roles that are missing and brings the roles' policies up to date."""
        for bucket in buckets(self._file):
            self._ensure_bucket(bucket)
        self._ensure_role(self._file.role, SAGEMAKER, policies.endpoint_policies(self._file))
        if self._file.image.codebuild_role:
            self._ensure_role(self._file.image.codebuild_role, CODEBUILD, policies.build_policies(self._file))
        if self._file.index_job:
            self._ensure_role(self._file.index_job.role, SAGEMAKER, policies.index_policies(self._file))

    def own_roles(self) -> Iterator[str]:
        """The names of the roles that `prepare` made."""
        job = self._file.index_job
        for arn in (self._file.role, self._file.image.codebuild_role, job.role if job else None):
            if arn is None:
                continue
            found = self._aws.find(
                Call("iam", "GetRole", {"RoleName": role_name(arn)}), {"Role": {"Tags": self._mark()}}
            )
            if found is not None and self._is_ours(found["Role"].get("Tags", [])):
                yield role_name(arn)

    def own_buckets(self) -> Iterator[tuple[str, list[str]]]:
        """The buckets that `prepare` made, each with the keys of the objects in it."""
        for bucket in buckets(self._file):
            tag_set = self._tags_of_bucket(bucket)
            if tag_set is not None and self._is_ours(tag_set):
                objects = self._aws.pages(list_objects(f"s3://{bucket}/"), "Contents")
                yield bucket, [str(entry["Key"]) for entry in objects]

    def delete_role(self, name: str) -> None:
        """Deletes the role with its inline policies."""
        role = {"RoleName": name}
        for policy in self._aws.pages(Call("iam", "ListRolePolicies", role), "PolicyNames", ["endpoint"]):
            self._aws.send(Call("iam", "DeleteRolePolicy", {**role, "PolicyName": policy}))
        self._aws.send(Call("iam", "DeleteRole", role))

    def delete_bucket(self, name: str) -> None:
        """Deletes the empty bucket."""
        self._aws.send(Call("s3", "DeleteBucket", {"Bucket": name}))

    def _ensure_bucket(self, bucket: str) -> None:
        if self._aws.find(Call("s3", "HeadBucket", {"Bucket": bucket})) is None:
            self._make_bucket(bucket)
        elif not self._is_ours(self._tags_of_bucket(bucket) or []):
            self._say(f"bucket {bucket} is there; prepare did not make it and leaves it as it is")
            return
        self._mark_and_close(bucket)
        self._say(f"bucket {bucket} is there, marked and closed to the public")

    def _make_bucket(self, bucket: str) -> None:
        parameters: dict[str, Any] = {"Bucket": bucket}
        if self._file.region != "us-east-1":  # the one region that must not be named
            parameters["CreateBucketConfiguration"] = {"LocationConstraint": self._file.region}
        try:
            self._aws.send(Call("s3", "CreateBucket", parameters))
        except RefusedError as error:
            if error.code != "BucketAlreadyOwnedByYou":  # the answer to boto3's first attempt was lost
                raise
        self._say(f"made bucket {bucket}")

    def _mark_and_close(self, bucket: str) -> None:
        """The mark first: a run that was stopped here knows the bucket again. Tags that others put there stay."""
        kept = {tag["Key"]: tag["Value"] for tag in self._tags_of_bucket(bucket) or []}
        wanted = kept | {tag["Key"]: tag["Value"] for tag in tags(self._file)}
        tag_set = [{"Key": key, "Value": value} for key, value in sorted(wanted.items())]
        self._aws.send(Call("s3", "PutBucketTagging", {"Bucket": bucket, "Tagging": {"TagSet": tag_set}}))
        blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        closed = {"Bucket": bucket, "PublicAccessBlockConfiguration": dict.fromkeys(blocks, True)}
        self._aws.send(Call("s3", "PutPublicAccessBlock", closed))

    def _tags_of_bucket(self, bucket: str) -> list[dict[str, str]] | None:
        """None for a bucket without tags; a dry run takes it for one that `prepare` made."""
        found = self._aws.find(Call("s3", "GetBucketTagging", {"Bucket": bucket}), {"TagSet": self._mark()})
        return None if found is None else found["TagSet"]

    def _ensure_role(self, arn: str, service: str, documents: dict[str, str]) -> None:
        role = {"RoleName": role_name(arn)}
        if self._aws.find(Call("iam", "GetRole", role)) is None:
            path = arn.split(":role", 1)[1].removesuffix(role_name(arn))
            trust = {
                "AssumeRolePolicyDocument": policies.trust(self._file, service),
                "Path": path,
                "Tags": tags(self._file),
            }
            self._aws.send(Call("iam", "CreateRole", {**role, **trust}))
            self._say(f"made role {role_name(arn)}; IAM takes some seconds until every service knows it")
        for name, document in documents.items():
            self._aws.send(Call("iam", "PutRolePolicy", {**role, "PolicyName": name, "PolicyDocument": document}))

    def _mark(self) -> list[dict[str, str]]:
        return [{"Key": OWNER_TAG, "Value": self._file.name}]

    def _is_ours(self, found: list[dict[str, str]]) -> bool:
        return self._mark()[0] in found


def role_name(arn: str) -> str:
    """The role's name, without its path."""
    return arn.rpartition("/")[2]
