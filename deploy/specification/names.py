"""What the parts of one endpoint are called and marked with in AWS."""

from __future__ import annotations

import re

from deploy.specification.endpoint_file import EndpointFile

OWNER_TAG = "openchatkit:endpoint"
PREVIOUS_TAG = "openchatkit:previous-config"
PREVIOUS_MODEL_TAG = "openchatkit:previous-model"
HASH_DIGITS = 12
PROCESSING_LOGS = "/aws/sagemaker/ProcessingJobs"
_JOB_CHARS = 40  # of the endpoint's name in that of a job, which has 63 and ends with the time


def belongs_to(endpoint: str, name: str) -> bool:
    """Whether `name` is one that deploy gives to a model or configuration of `endpoint`."""
    return re.fullmatch(rf"{re.escape(endpoint)}-[0-9a-f]{{{HASH_DIGITS}}}", name) is not None


def tags(file: EndpointFile) -> list[dict[str, str]]:
    """The tags of everything that belongs to the endpoint."""
    return [{"Key": key, "Value": value} for key, value in sorted({**file.tags, OWNER_TAG: file.name}.items())]


def endpoint_arn(file: EndpointFile) -> str:
    """The endpoint's ARN, which SageMaker writes in lower case."""
    return f"arn:{file.partition}:sagemaker:{file.region}:{file.account}:endpoint/{file.name.lower()}"


def component_name(file: EndpointFile) -> str:
    """The endpoint's inference component, where the file has one."""
    return f"{file.name}-component"


def component_arn(file: EndpointFile) -> str:
    """The component's ARN."""
    name = component_name(file).lower()
    return f"arn:{file.partition}:sagemaker:{file.region}:{file.account}:inference-component/{name}"


def build_project(file: EndpointFile) -> str:
    """The CodeBuild project of the file's repository."""
    return f"{file.image.repository.replace('/', '-')}-image"


def log_group(endpoint: str) -> str:
    """Where the containers of `endpoint` log to."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def index_job_prefix(file: EndpointFile) -> str:
    """What the names of the jobs begin with that build the endpoint's index."""
    return f"{file.name[:_JOB_CHARS].rstrip('-')}-index-"
