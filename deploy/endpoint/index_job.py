"""An index built in AWS: a SageMaker Processing job of the builder image, from documents in S3 to artifacts.index.

The job publishes by itself, a version's manifest last, so that an endpoint never finds half an index.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from deploy.aws.api import Aws, Call, Say, UnansweredError
from deploy.aws.new_role import send_once_assumable
from deploy.endpoint.plan import check_account
from deploy.errors import DeployError
from deploy.image.ecr import image_address
from deploy.specification.endpoint_file import EndpointFile, IndexJob, builder_of
from deploy.specification.names import PROCESSING_LOGS, index_job_prefix, tags
from deploy.storage.index_version import newest_version

_FOLDER = "/opt/ml/processing"
_MOVING = {"InProgress", "Stopping"}


def plan_job(aws: Aws, file: EndpointFile, say: Say, now: datetime | None = None) -> Call:
    """CreateProcessingJob for the file's index_job. Reads ECR and S3, changes nothing.

    Raises:
        DeployError: no [index_job], no builder image, nothing at the source or encoder, another account's credentials.
    """
    job, index, encoder = file.index_job, file.artifacts.index, file.artifacts.encoder
    if job is None or index is None or encoder is None:
        raise DeployError("index needs the table [index_job]; deploy/endpoint.example.toml explains it")
    check_account(aws, file)
    image = image_address(aws, builder_of(file), say, build="image build --builder")
    for place in (job.source, encoder.s3):
        bucket, _, key = place.removeprefix("s3://").partition("/")
        if not aws.pages(Call("s3", "ListObjectsV2", {"Bucket": bucket, "Prefix": key}), "Contents", assumed=[{}]):
            raise DeployError(f"{place}: there is nothing")
    call = _create(file, job, image, arguments=_arguments(job, index.s3), now=now or datetime.now(UTC))
    call.check()
    return call


def run_job(
    aws: Aws, file: EndpointFile, call: Call, say: Say, poll_s: float, sleep: Callable[[float], None] = time.sleep
) -> str | None:
    """Starts the job and waits for it; the address of the version it made, None in a dry run.

    Raises:
        DeployError: it failed or was stopped; the sentence has SageMaker's reason and where its log is.
    """
    name = str(call.parameters["ProcessingJobName"])
    send_once_assumable(aws, call, say, sleep=lambda pause_s: sleep(min(pause_s, poll_s)))
    say(f"{name} goes on if this command is interrupted; its log: {PROCESSING_LOGS}, streams {name}/...")
    last = ""
    while (job := _look(aws, name, say))["ProcessingJobStatus"] in _MOVING:
        if job["ProcessingJobStatus"] != last:
            last = job["ProcessingJobStatus"]
            say(f"{name}: {last}")
        sleep(poll_s)
    if job["ProcessingJobStatus"] != "Completed":
        why = job.get("ExitMessage") or job.get("FailureReason") or "SageMaker gives no reason"
        raise DeployError(
            f"{name}: {job['ProcessingJobStatus']}: {why}; its log: {PROCESSING_LOGS}, streams {name}/..."
        )
    index = file.artifacts.index
    return newest_version(aws, index.s3) if index and not aws.dry else None


def _look(aws: Aws, name: str, say: Say) -> dict[str, Any]:
    """One look; a job whose state is not told goes on."""
    call = Call("sagemaker", "DescribeProcessingJob", {"ProcessingJobName": name})
    try:
        return aws.send(call, assumed={"ProcessingJobStatus": "Completed"})
    except UnansweredError as error:
        say(f"{error}; looking again")
        return {"ProcessingJobStatus": "InProgress"}


def _create(file: EndpointFile, job: IndexJob, image: str, arguments: list[str], now: datetime) -> Call:
    assert file.artifacts.encoder is not None, file
    cluster: dict[str, Any] = {"InstanceCount": 1, "InstanceType": job.instance_type, "VolumeSizeInGB": job.volume_gb}
    if file.encryption.volume_key:
        cluster["VolumeKmsKeyId"] = file.encryption.volume_key
    parameters: dict[str, Any] = {
        "ProcessingJobName": f"{index_job_prefix(file)}{now:%Y%m%d%H%M%S}",
        "RoleArn": job.role,
        "AppSpecification": {"ImageUri": image, "ContainerArguments": arguments},
        "ProcessingInputs": [_input("source", job.source), _input("encoder", file.artifacts.encoder.s3)],
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600 * job.limit_hours},
        "Environment": {"AWS_DEFAULT_REGION": file.region},
        "Tags": tags(file),
    }
    if file.network.subnets:
        places = {"SecurityGroupIds": list(file.network.security_groups), "Subnets": list(file.network.subnets)}
        parameters["NetworkConfig"] = {"VpcConfig": places}
    return Call("sagemaker", "CreateProcessingJob", parameters)


def _input(name: str, place: str) -> dict[str, Any]:
    """What lies in S3, copied to a folder of its name before the container starts."""
    files = {"S3Uri": place, "LocalPath": f"{_FOLDER}/{name}", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"InputName": name, "S3Input": files}


def _arguments(job: IndexJob, out: str) -> list[str]:
    """The command line of `index_builder`; a source that is one object is named as the file it becomes."""
    file_name = "" if job.source.endswith("/") else f"/{job.source.rpartition('/')[2]}"
    source, encoder = f"{_FOLDER}/source{file_name}", f"{_FOLDER}/encoder"
    places = ["--source", source, "--encoder", encoder, "--out", out.rstrip("/"), "--work", f"{_FOLDER}/work"]
    return ["--quiet", "build", *places, *job.flags]
