"""The image's place in ECR."""

from __future__ import annotations

import base64

from deploy.aws import Aws, Call, Say
from deploy.endpoint_file import EndpointFile
from deploy.errors import DeployError
from deploy.requests import tags

_UNKNOWN_DIGEST = "sha256:" + "0" * 64


def image_address(aws: Aws, file: EndpointFile, say: Say) -> str:
    """The image pinned by its digest, so that pushing the tag again is a change and an old endpoint keeps its image.

    Raises:
        DeployError: the image has not been pushed.
    """
    if file.image.uri:
        return file.image.uri
    repository = f"{file.registry}/{file.image.repository}"
    if file.image.digest:
        return f"{repository}@{file.image.digest}"
    answer = aws.find(describe_image(file), assumed={"imageDetails": [{"imageDigest": _UNKNOWN_DIGEST}]})
    if answer is None:
        raise DeployError(f"{file.image_tag_uri} is not in ECR; run: python -m deploy image build, then image push")
    if aws.dry:
        say("dry run: the image's digest is not known, zeros stand for it and the names' hashes differ from a real run")
    return f"{repository}@{answer['imageDetails'][0]['imageDigest']}"


def describe_image(file: EndpointFile) -> Call:
    """DescribeImages for the file's tag."""
    image_ids = [{"imageTag": file.image.tag}]
    return Call("ecr", "DescribeImages", {"repositoryName": file.image.repository, "imageIds": image_ids})


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
