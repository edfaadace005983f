"""The image's place in ECR."""

from __future__ import annotations

import base64

from deploy.aws.api import Aws, Call, Say
from deploy.errors import DeployError
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import tags

_UNKNOWN_DIGEST = "sha256:" + "0" * 64
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


def image_address(aws: Aws, file: EndpointFile, say: Say, build: str = "image build") -> str:
    """The image pinned by its digest, so that pushing the tag again is a change and an old endpoint keeps its image.

    Args:
        build: the command that makes it.

    Raises:
        DeployError: the image has not been pushed, or is an index of images, which SageMaker does not take.
    """
    if file.image.uri:
        return file.image.uri
    wanted = file.image.digest
    assumed = {"imageDetails": [{"imageDigest": wanted or _UNKNOWN_DIGEST}]}
    answer = aws.find(describe_image(file), assumed)
    if answer is None:
        raise DeployError(
            f"{_name(file)} is not in ECR; run: python -m deploy {build}, then {build.replace('build', 'push', 1)}"
        )
    if aws.dry and not wanted:
        say("dry run: the image's digest is not known, zeros stand for it and the names' hashes differ from a real run")
    details = answer["imageDetails"][0]
    _check_one_image(file, details.get("imageManifestMediaType"))
    return f"{file.registry}/{file.image.repository}@{details['imageDigest']}"


def _check_one_image(file: EndpointFile, media_type: str | None) -> None:
    if media_type in _INDEXES:
        raise DeployError(
            f"{_name(file)} is an index of images ({media_type}), which SageMaker refuses; "
            "build and push it again with: python -m deploy image build, then image push"
        )


def _name(file: EndpointFile) -> str:
    digest = file.image.digest
    return f"{file.registry}/{file.image.repository}@{digest}" if digest else file.image_tag_uri


def describe_image(file: EndpointFile) -> Call:
    """DescribeImages for the file's digest, else its tag."""
    image_id = {"imageDigest": file.image.digest} if file.image.digest else {"imageTag": file.image.tag}
    return Call("ecr", "DescribeImages", {"repositoryName": file.image.repository, "imageIds": [image_id]})


def describe_repository(file: EndpointFile) -> Call:
    """DescribeRepositories for the file's repository."""
    return Call("ecr", "DescribeRepositories", {"repositoryNames": [file.image.repository]})


def ensure_repository(aws: Aws, file: EndpointFile, say: Say) -> None:
    """Makes the repository where there is none: scanned on push, with the file's key where it names one."""
    if aws.find(describe_repository(file)) is not None:
        return
    encryption = {"encryptionType": "AES256"}
    if file.encryption.storage_key:
        encryption = {"encryptionType": "KMS", "kmsKey": file.encryption.storage_key}
    parameters = {
        "repositoryName": file.image.repository,
        "imageScanningConfiguration": {"scanOnPush": True},
        "encryptionConfiguration": encryption,
        "tags": tags(file),
    }
    aws.send(Call("ecr", "CreateRepository", parameters))
    say(f"made ECR repository {file.image.repository}")


def login(aws: Aws) -> tuple[str, str]:
    """User and password for the registry, good for 12 hours."""
    assumed = {"authorizationData": [{"authorizationToken": base64.b64encode(b"AWS:token").decode()}]}
    answer = aws.send(Call("ecr", "GetAuthorizationToken", {}), assumed=assumed)
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    return user, password
