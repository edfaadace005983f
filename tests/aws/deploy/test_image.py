"""image: docker's commands through a stand-in that records them, CodeBuild against moto."""

from __future__ import annotations

import io
import json
import os
import subprocess
import zipfile
from pathlib import Path

import moto.backends
import pytest

from deploy.__main__ import main
from deploy.image.sources import zipped
from tests.aws.deploy.aws_account import ACCOUNT, REGION, AwsServer

REGISTRY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
IMAGE = f"{REGISTRY}/openchatkit-server:0.1.0"
RECORDING_TOOL = """#!/bin/sh
test "$1" = info && exit 0
test "$1" = buildx && test "$FAIL_AT" != buildx && exit 0
test "$1" = buildx && exit 1
printf '%s\\n' "$*" >>"$RECORD"
case "$1" in login) printf 'stdin %s\\n' "$(cat)" >>"$RECORD";; esac
test "$1" = image && echo "registry.example/base@sha256:0"
test "$1" != "$FAIL_AT"
"""
CODEBUILD = f"""
codebuild_role = "arn:aws:iam::{ACCOUNT}:role/builder"
codebuild_source = "s3://models-of-ours/builds/"
"""


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a `docker` that does nothing else writes what it was told."""
    tool = tmp_path / "bin" / "docker"
    tool.parent.mkdir()
    tool.write_text(RECORDING_TOOL)
    tool.chmod(0o755)
    record = tmp_path / "commands"
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(record))
    monkeypatch.setenv("FAIL_AT", "nothing")
    return record


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "product"
    (folder / "server").mkdir(parents=True)
    (folder / "tests").mkdir()
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "server" / "app.py").write_text("print('hello')\n")
    (folder / "tests" / "test_app.py").write_text("assert True\n")
    return folder


def image(endpoint_toml: Path, *more: str) -> int:
    return main(["image", *more, "--file", str(endpoint_toml), "--poll-s", "0.01"])


def test_build_gives_the_flavor_and_the_registry_name(commands, context, endpoint_toml):
    assert image(endpoint_toml, "build", "--context", str(context), "--build-arg", "REVISION=abc") == 0
    one_image = "--platform linux/amd64 --provenance=false"
    expected = f"build {one_image} --build-arg FLAVOR=gpu --build-arg REVISION=abc --tag {IMAGE} {context}"
    assert commands.read_text().splitlines() == [expected]


@pytest.mark.parametrize(
    ("tool", "flags"),
    [("docker", ["--provenance=false"]), ("podman", ["--format", "docker"])],
)
def test_a_dry_run_of_build_shows_one_image_in_dockers_format_for_amd64(context, endpoint_toml, capsys, tool, flags):
    assert image(endpoint_toml, "build", "--context", str(context), "--tool", tool, "--dry-run") == 0
    command = json.loads(capsys.readouterr().out)["command"]
    assert command[: 4 + len(flags)] == [tool, "build", "--platform", "linux/amd64", *flags]


def test_dockers_older_builder_is_not_given_a_flag_that_it_does_not_know(commands, context, endpoint_toml, monkeypatch):
    monkeypatch.setenv("FAIL_AT", "buildx")
    assert image(endpoint_toml, "build", "--context", str(context)) == 0
    assert "--provenance" not in commands.read_text()


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize(
    "media_type",
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"],
)
def test_create_refuses_an_index_of_images_before_anything_is_made(
    ready_account, endpoint_toml, capsys, monkeypatch, media_type, pinned
):
    (details,) = ready_account.client("ecr").describe_images(repositoryName="openchatkit-server")["imageDetails"]
    if pinned:
        pin = f'cuda = "12.6"\ndigest = "{details["imageDigest"]}"\n'
        endpoint_toml.write_text(endpoint_toml.read_text().replace('cuda = "12.6"\n', pin))
    (repository,) = moto.backends.get_backend("ecr")[ACCOUNT][REGION].repositories.values()
    repository.images[0].image_manifest_media_type = media_type
    assert main(["create", "--file", str(endpoint_toml)]) == 1
    name = f"openchatkit-server@{details['imageDigest']}" if pinned else "openchatkit-server:0.1.0"
    assert f"{name} is an index of images ({media_type}), which SageMaker" in capsys.readouterr().err
    assert ready_account.recorder.of("CreateModel") == []


def test_a_build_from_a_repository_says_its_commit_and_sends_what_git_knows(commands, context, endpoint_toml, tmp_path):
    git = ["git", "-C", str(context), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    (context / ".gitignore").write_text("*.log\n")
    (context / "noise.log").write_text("noise")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    assert image(endpoint_toml, "build", "--context", str(context)) == 0
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert f"--build-arg REVISION={commit}" in commands.read_text()
    names = zipfile.ZipFile(io.BytesIO(zipped(context))).namelist()
    assert names == [".gitignore", "Dockerfile", "server/app.py"]


def test_push_makes_the_repository_and_logs_in_without_the_password_on_a_command_line(
    aws_server, commands, endpoint_toml
):
    assert image(endpoint_toml, "push", "--image", "openchatkit:gpu") == 0
    said = commands.read_text().splitlines()
    assert said[:2] == [f"tag openchatkit:gpu {IMAGE}", f"login --username AWS --password-stdin {REGISTRY}"]
    assert said[2].startswith("stdin ")
    assert len(said[2]) > len("stdin ")
    assert said[3:] == [f"push {IMAGE}", f"logout {REGISTRY}"]
    (repository,) = aws_server.client("ecr").describe_repositories()["repositories"]
    assert repository["repositoryName"] == "openchatkit-server"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert image(endpoint_toml, "push") == 0


def test_a_failed_push_still_logs_out(aws_server, commands, endpoint_toml, monkeypatch, capsys):
    monkeypatch.setenv("FAIL_AT", "push")
    assert image(endpoint_toml, "push") == 1
    assert commands.read_text().splitlines()[-1] == f"logout {REGISTRY}"
    assert f"docker push {IMAGE} ended with status 1" in capsys.readouterr().err


def test_a_dry_run_prints_requests_and_commands_and_runs_none(aws_server, commands, endpoint_toml, capsys):
    assert image(endpoint_toml, "push", "--dry-run") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["operation"] for line in lines if "operation" in line] == [
        "DescribeRepositories",
        "CreateRepository",
        "GetAuthorizationToken",
    ]
    assert [line["command"][1] for line in lines if "command" in line] == ["login", "push", "logout"]
    assert not commands.exists()
    assert aws_server.recorder.num_requests == 0


def test_codebuild_gets_the_sources_and_the_build(aws_server: AwsServer, context, endpoint_toml):
    prepare_codebuild(aws_server, endpoint_toml)
    assert image(endpoint_toml, "build", "--codebuild", "--context", str(context)) == 0
    (project,) = aws_server.recorder.of("CreateProject")
    assert project["serviceRole"] == f"arn:aws:iam::{ACCOUNT}:role/builder"
    assert project["environment"]["privilegedMode"] is True
    (build,) = aws_server.recorder.of("StartBuild")
    bucket, key = build["sourceLocationOverride"].split("/", 1)
    archive = aws_server.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    assert zipfile.ZipFile(io.BytesIO(archive)).namelist() == ["Dockerfile", "server/app.py"]
    phases = json.loads(build["buildspecOverride"])["phases"]
    assert phases["build"]["commands"] == [
        'BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build --platform linux/amd64 --build-arg FLAVOR=gpu -t "$IMAGE" .'
    ]
    variables = {entry["name"]: entry["value"] for entry in build["environmentVariablesOverride"]}
    assert variables == {"REGISTRY": REGISTRY, "IMAGE": IMAGE}


def test_a_second_codebuild_reuses_project_and_repository(aws_server: AwsServer, context, endpoint_toml):
    prepare_codebuild(aws_server, endpoint_toml)
    for _ in range(2):
        assert image(endpoint_toml, "build", "--codebuild", "--context", str(context)) == 0
    assert len(aws_server.recorder.of("CreateProject")) == 1
    assert len(aws_server.recorder.of("CreateRepository")) == 1
    locations = {build["sourceLocationOverride"] for build in aws_server.recorder.of("StartBuild")}
    assert len(locations) == 1


def test_a_failed_codebuild_says_which_phase(aws_server: AwsServer, context, endpoint_toml, capsys, monkeypatch):
    prepare_codebuild(aws_server, endpoint_toml)
    phase = {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [{"message": "exit status 1"}]}
    failed = [{"buildStatus": "FAILED", "currentPhase": "COMPLETED", "phases": [phase]}]
    monkeypatch.setattr("moto.codebuild.models.CodeBuildBackend.batch_get_builds", lambda *_: failed)
    assert image(endpoint_toml, "build", "--codebuild", "--context", str(context)) == 1
    assert "FAILED: BUILD: exit status 1; its log is in /aws/codebuild/" in capsys.readouterr().err


def test_codebuild_without_a_role_names_the_missing_keys(aws_server, context, endpoint_toml, capsys):
    assert image(endpoint_toml, "build", "--codebuild", "--context", str(context)) == 1
    assert "image.codebuild_role and image.codebuild_source" in capsys.readouterr().err


def prepare_codebuild(server: AwsServer, endpoint_toml: Path) -> None:
    location = {"LocationConstraint": REGION}
    server.client("s3").create_bucket(Bucket="models-of-ours", CreateBucketConfiguration=location)
    text = endpoint_toml.read_text().replace('cuda = "12.6"\n', 'cuda = "12.6"\n' + CODEBUILD)
    endpoint_toml.write_text(text)


def test_a_base_image_is_built_from_by_its_digest(commands: Path, context: Path, endpoint_toml: Path) -> None:
    (context / "Dockerfile").write_text("ARG BASE_IMAGE=registry.example/base:1\nFROM ${BASE_IMAGE}\n")
    assert image(endpoint_toml, "build", "--context", str(context)) == 0
    assert commands.read_text().splitlines()[0] == "pull --quiet registry.example/base:1"
    assert "--build-arg BASE_IMAGE=registry.example/base@sha256:0 " in commands.read_text().splitlines()[-1]
