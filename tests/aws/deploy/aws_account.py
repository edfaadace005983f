"""An AWS account for the tests: where it is, what it holds, and an endpoint file for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass

import boto3
import botocore.session

from deploy.aws import request_check
from tests.aws.deploy.recorder import Recorder
from tests.aws.deploy.sagemaker_gaps import Fleet

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/openchatkit-endpoint"


@dataclass(frozen=True)
class AwsServer:
    url: str
    recorder: Recorder
    fleet: Fleet

    def client(self, service: str):
        session = botocore.session.get_session()
        session.register_component("data_loader", request_check.model_session().get_component("data_loader"))
        return boto3.Session(botocore_session=session, region_name=REGION).client(service)


ENDPOINT_TOML = f"""
name = "talker"
region = "{REGION}"
role = "{ROLE}"

[image]
repository = "openchatkit-server"
tag = "0.1.0"
cuda = "12.6"

[artifacts.chat]
s3 = "s3://models-of-ours/chat-20b-tp4/"
[artifacts.moderation]
s3 = "s3://models-of-ours/moderation-6b-tp4/"
[artifacts.index]
s3 = "s3://models-of-ours/wikipedia/"
[artifacts.encoder]
s3 = "s3://models-of-ours/contriever/"

[settings]
tensor_parallel_degree = 4
dtype = "float16"
store = "dynamodb://talker-conversations"
golden = "require"

[network]
subnets = ["subnet-0aaa", "subnet-0bbb"]
security_groups = ["sg-0ccc"]

[encryption]

[autoscaling]
min = 1
max = 3
concurrent_requests = 8

[tags]
team = "chat"
"""


def put_image(aws_server: AwsServer, tag: str, content: str) -> None:
    """Pushes a stand-in for an image; another content gives another digest."""
    ecr = aws_server.client("ecr")
    with contextlib.suppress(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName="openchatkit-server")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "layers": [{"digest": f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"}],
    }
    ecr.put_image(repositoryName="openchatkit-server", imageManifest=json.dumps(manifest), imageTag=tag)
