"""`deploy index`: the job is asked for as it should be, its command really builds, with no more rights than it has."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from moto.sagemaker import models

from deploy.__main__ import main
from deploy.account import policies
from deploy.specification.endpoint_file import read
from index_builder.__main__ import main as build_index
from server.retrieval.encoder.source import encoder_path
from server.retrieval.index.manifest import Manifest
from tests.aws.deploy.aws_account import ACCOUNT, REGION, AwsServer, put_image

ROLE = f"arn:aws:iam::{ACCOUNT}:role/openchatkit-index"
JOB = f"""
[index_job]
source = "s3://papers-of-ours/handbook/"
role = "{ROLE}"
flags = ["--window-sentences", "1"]
"""
PAGE = "# Transfers\n\nThe largest transfer is 5,000 euros a day. It is raised by a call to the bank.\n"
ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


@pytest.fixture
def job_toml(endpoint_toml: Path) -> Path:
    endpoint_toml.write_text(endpoint_toml.read_text() + JOB)
    return endpoint_toml


@pytest.fixture
def account(ready_account: AwsServer) -> AwsServer:
    """With documents, and the builder's image."""
    put_image(ready_account, "0.1.0-builder", "builder")
    s3 = ready_account.client("s3")
    s3.create_bucket(Bucket="papers-of-ours", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="papers-of-ours", Key="handbook/transfers.md", Body=PAGE.encode())
    s3.delete_object(Bucket="models-of-ours", Key="wikipedia/manifest.json")
    return ready_account


def index(path: Path, *more: str) -> int:
    return main(["index", "--file", str(path), "--poll-s", "0.01", *more])


def test_a_dry_run_prints_the_job_and_sends_nothing(aws_server, job_toml, capsys):
    assert index(job_toml, "--dry-run") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (job,) = [line["parameters"] for line in lines if line["operation"] == "CreateProcessingJob"]
    assert job["RoleArn"] == ROLE
    assert job["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"] == 500
    assert job["NetworkConfig"]["VpcConfig"]["Subnets"] == ["subnet-0aaa", "subnet-0bbb"]
    assert aws_server.recorder.num_requests == 0


def test_the_job_builds_an_index_that_create_finds_and_needs_no_right_it_does_not_have(
    account: AwsServer, job_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    machine = Machine(account, tmp_path)
    machine.stand_in(monkeypatch)
    assert index(job_toml) == 0
    file = read(job_toml)
    address = capsys.readouterr().err.splitlines()[-1].partition(" is ready")[0]
    assert address.startswith("s3://models-of-ours/wikipedia/2")
    manifest = machine.manifest(address)
    assert (manifest.passages.num_documents, manifest.passages.window_sentences) == (1, 1)
    allowed = Rights([*policies.index_policies(file).values()])
    objects = [(method, path) for method, path in machine.asked if path.count("/") > 1]
    assert objects
    refused = [each for each in objects if not allowed(ACTIONS.get(each[0], "s3:PutObject"), each[1])]
    assert refused == []
    assert not allowed("s3:PutObject", "/papers-of-ours/handbook/transfers.md")
    assert not allowed("s3:DeleteObject", "/models-of-ours/wikipedia/vectors.npy")
    assert not allowed("s3:GetObject", "/models-of-ours/chat-20b-tp4/weights.safetensors")


def test_a_job_that_fails_is_told_with_its_reason_and_its_log(account, job_toml, monkeypatch, capsys):
    failed = {"ProcessingJobStatus": "Failed", "FailureReason": "AlgorithmError: Exit code: 2"}
    monkeypatch.setattr(models.SageMakerModelBackend, "describe_processing_job", lambda *_: failed)
    assert index(job_toml) == 1
    told = capsys.readouterr().err
    assert (
        "Failed: AlgorithmError: Exit code: 2; its log: /aws/sagemaker/ProcessingJobs, streams talker-index-2" in told
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("papers-of-ours/handbook/", "papers-of-ours/nothing/", "s3://papers-of-ours/nothing/: there is nothing"),
        ('tag = "0.1.0"', 'tag = "0.2.0"', "image build --builder, then image push --builder"),
        (JOB, "", "index needs the table [index_job]"),
    ],
)  # fmt: skip
def test_what_would_fail_is_refused_before_it_costs(account, job_toml, capsys, old, new, sentence):
    job_toml.write_text(job_toml.read_text().replace(old, new))
    assert index(job_toml) == 1
    assert sentence in capsys.readouterr().err
    assert account.recorder.of("CreateProcessingJob") == []


def test_a_source_that_is_one_object_is_read_as_that_file(account, job_toml):
    text = job_toml.read_text().replace("papers-of-ours/handbook/", "papers-of-ours/handbook/transfers.md")
    job_toml.write_text(text)
    assert index(job_toml) == 0
    (job,) = account.recorder.of("CreateProcessingJob")
    assert job["ProcessingInputs"][0]["S3Input"]["S3Uri"] == "s3://papers-of-ours/handbook/transfers.md"
    arguments = job["AppSpecification"]["ContainerArguments"]
    assert arguments[arguments.index("--source") + 1] == "/opt/ml/processing/source/transfers.md"


def test_prepare_makes_the_jobs_role_and_the_deployer_may_run_its_jobs_alone(aws_server, job_toml):
    assert main(["prepare", "--file", str(job_toml)]) == 0
    names = aws_server.client("iam").list_role_policies(RoleName="openchatkit-index")["PolicyNames"]
    assert set(names) >= {"index", "source", "encoder", "network"}
    statements = json.loads(policies.deployer_policy(read(job_toml)))["Statement"]
    (jobs,) = [each for each in statements if "sagemaker:CreateProcessingJob" in each["Action"]]
    assert jobs["Resource"] == f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/talker-index-*"
    assert ROLE in next(each["Resource"] for each in statements if each["Action"] == "iam:PassRole")


class Machine:
    """Does what a processing machine does: inputs to folders, then the container's command."""

    def __init__(self, account: AwsServer, folder: Path) -> None:
        self._account = account
        self._folder = folder
        self.asked: list[tuple[str, str]] = []

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        backend = models.SageMakerModelBackend
        describe = backend.describe_processing_job

        def run_and_describe(given: Any, processing_job_name: str) -> dict[str, Any]:
            (job,) = self._account.recorder.of("CreateProcessingJob")
            self._run(job)
            return describe(given, processing_job_name)

        monkeypatch.setattr(backend, "describe_processing_job", run_and_describe)
        monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)

    def manifest(self, address: str) -> Manifest:
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        answer = self._account.client("s3").get_object(Bucket=bucket, Key=f"{prefix}manifest.json")
        return msgspec.json.decode(answer["Body"].read(), type=Manifest)

    def _run(self, job: dict[str, Any]) -> None:
        source = self._folder / "source"
        source.mkdir()
        (source / "transfers.md").write_text(PAGE)
        (self._folder / "encoder").symlink_to(encoder_path("sample"))
        arguments = job["AppSpecification"]["ContainerArguments"]
        before = self._account.recorder.num_requests
        assert build_index([each.replace("/opt/ml/processing", str(self._folder)) for each in arguments]) == 0
        self.asked = self._account.recorder.paths[before:]


class Rights:
    """What policies allow, of one object."""

    def __init__(self, documents: list[str]) -> None:
        self._statements = [statement for document in documents for statement in json.loads(document)["Statement"]]

    def __call__(self, action: str, path: str) -> bool:
        resource = f"arn:aws:s3:::{path.removeprefix('/')}"
        return any(
            action in _listed(each["Action"])
            and any(fnmatch.fnmatch(resource, one) for one in _listed(each["Resource"]))
            for each in self._statements
        )


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
