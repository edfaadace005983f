"""Building the image in AWS CodeBuild, for those without docker here: the sources go to S3, the image to ECR."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from typing import Any

from deploy.aws.api import Aws, Call, Say
from deploy.aws.new_role import send_once_assumable
from deploy.errors import DeployError
from deploy.image import ecr
from deploy.image.build import Recipe
from deploy.image.container_tool import PLATFORM
from deploy.image.sources import zipped
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import build_project, tags
from server.artifacts.listing import split_uri

_BUILDER_IMAGE = "aws/codebuild/standard:7.0"
_COMPUTE = "BUILD_GENERAL1_LARGE"
_TIMEOUT_MINUTES = 120
_ONE_IMAGE = "BUILDX_NO_DEFAULT_ATTESTATIONS=1"  # as --provenance=false, and an older builder does not mind it


def log_group(file: EndpointFile) -> str:
    """Where the project's builds log to."""
    return f"/aws/codebuild/{build_project(file)}"


def project_exists(aws: Aws, file: EndpointFile, assumed: bool = False) -> bool:
    """Whether the project has been made; a dry run goes on with `assumed`."""
    name = build_project(file)
    answer = aws.send(Call("codebuild", "BatchGetProjects", {"names": [name]}), {"projects": [name] * assumed})
    return bool(answer.get("projects"))


def build_in_aws(
    aws: Aws,
    file: EndpointFile,
    recipe: Recipe,
    say: Say,
    poll_s: float = 10.0,
) -> None:
    """Zips the recipe's context, builds it and pushes the image to ECR. Returns when the push is done.

    Raises:
        DeployError: endpoint.toml names no role or place for sources, or the build failed; the sentence has the phase.
    """
    role, place = file.image.codebuild_role, file.image.codebuild_source
    if role is None or place is None:
        raise DeployError("image.codebuild_role and image.codebuild_source are needed to build in CodeBuild")
    ecr.ensure_repository(aws, file, say)
    location = _send_sources(aws, place, zipped(recipe.context), say=say)
    if not project_exists(aws, file):
        send_once_assumable(aws, create_project(file, role, location), say)
        say(f"made CodeBuild project {build_project(file)}")
    started = aws.send(start_build(file, location, recipe), {"build": {"id": f"{build_project(file)}:0"}})
    _wait(aws, file, str(started["build"]["id"]), say=say, poll_s=poll_s)


def create_project(file: EndpointFile, role: str, location: str) -> Call:
    """CreateProject; what changes from build to build is given to StartBuild."""
    parameters = {
        "name": build_project(file),
        "source": {"type": "S3", "location": location, "buildspec": _buildspec([])},
        "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {
            "type": "LINUX_CONTAINER",
            "image": _BUILDER_IMAGE,
            "computeType": _COMPUTE,
            "privilegedMode": True,
        },
        "serviceRole": role,
        "timeoutInMinutes": _TIMEOUT_MINUTES,
        "tags": [{"key": tag["Key"], "value": tag["Value"]} for tag in tags(file)],
    }
    return Call("codebuild", "CreateProject", parameters)


def start_build(file: EndpointFile, location: str, recipe: Recipe) -> Call:
    """StartBuild of the sources at `location`, for the file's image."""
    variables = {"REGISTRY": file.registry, "IMAGE": file.image_tag_uri}
    parameters = {
        "projectName": build_project(file),
        "sourceTypeOverride": "S3",
        "sourceLocationOverride": location,
        "buildspecOverride": _buildspec(recipe.flags()),
        "environmentVariablesOverride": [
            {"name": name, "value": value, "type": "PLAINTEXT"} for name, value in variables.items()
        ],
    }
    return Call("codebuild", "StartBuild", parameters)


def _send_sources(aws: Aws, place: str, archive: bytes, say: Say) -> str:
    bucket, prefix = split_uri(place)
    key = f"{prefix}source-{hashlib.sha256(archive).hexdigest()[:12]}.zip"
    body: Any = f"<{len(archive)} bytes of zipped sources>" if aws.dry else archive
    aws.send(Call("s3", "PutObject", {"Bucket": bucket, "Key": key, "Body": body}))
    say(f"sent {len(archive) / 1e6:.1f} MB of sources to s3://{bucket}/{key}")
    return f"{bucket}/{key}"


def _buildspec(flags: list[str]) -> str:
    """A build specification as JSON, which is YAML."""
    login = 'aws ecr get-login-password | docker login --username AWS --password-stdin "$REGISTRY"'
    command = shlex.join(["docker", "build", "--platform", PLATFORM, *flags])
    build = f'{_ONE_IMAGE} {command} -t "$IMAGE" .'
    push = 'test "$CODEBUILD_BUILD_SUCCEEDING" = 1 && docker push "$IMAGE"'
    phases = {"pre_build": login, "build": build, "post_build": push}
    return json.dumps({"version": "0.2", "phases": {name: {"commands": [line]} for name, line in phases.items()}})


def _wait(aws: Aws, file: EndpointFile, build_id: str, say: Say, poll_s: float) -> None:
    last = ""
    while True:
        assumed = {"builds": [{"buildStatus": "SUCCEEDED", "currentPhase": "COMPLETED"}]}
        build = aws.send(Call("codebuild", "BatchGetBuilds", {"ids": [build_id]}), assumed)["builds"][0]
        if build.get("currentPhase") != last:
            last = str(build.get("currentPhase"))
            say(f"{build_id}: {last}")
        if build["buildStatus"] == "SUCCEEDED":
            return
        if build["buildStatus"] != "IN_PROGRESS":
            raise DeployError(
                f"build {build_id} {build['buildStatus']}: {_why(build)}; its log is in {log_group(file)}"
            )
        time.sleep(poll_s)


def _why(build: dict[str, Any]) -> str:
    contexts = [
        f"{phase['phaseType']}: {context.get('message', '')}"
        for phase in build.get("phases", [])
        for context in phase.get("contexts", [])
        if phase.get("phaseStatus") not in (None, "SUCCEEDED")
    ]
    return "; ".join(contexts) or "CodeBuild gives no reason"
