"""What is left, and what is said, when a step fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import AwsServer

REASON = "The primary container for production variant main did not pass the ping health check"


def create(endpoint_toml: Path, *more: str) -> int:
    return main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01", *more])


def num_sagemaker_resources(server: AwsServer) -> int:
    client = server.client("sagemaker")
    return (
        len(client.list_endpoints()["Endpoints"])
        + len(client.list_endpoint_configs()["EndpointConfigs"])
        + len(client.list_models()["Models"])
    )


def write_log(server: AwsServer, *messages: str) -> None:
    logs = server.client("logs")
    group = {"logGroupName": "/aws/sagemaker/Endpoints/talker"}
    logs.create_log_group(**group)
    logs.create_log_stream(**group, logStreamName="main/i-0123")
    events = [
        {"timestamp": int(time.time() * 1000) - 1000 + n, "message": message} for n, message in enumerate(messages)
    ]
    logs.put_log_events(**group, logStreamName="main/i-0123", logEvents=events)


def test_a_failed_create_says_why_shows_the_log_and_leaves_nothing(ready_account, endpoint_toml, capsys):
    write_log(ready_account, "supervisor: start", "supervisor: 10.3 GB needed on GPU 0, 8.1 GB free")
    ready_account.fleet.outcomes.append(REASON)
    assert create(endpoint_toml) == 1
    said = capsys.readouterr().err
    assert f"error: endpoint talker is Failed: {REASON}" in said
    assert "10.3 GB needed on GPU 0, 8.1 GB free" in said
    assert num_sagemaker_resources(ready_account) == 0


def test_a_failed_create_keeps_what_it_made_when_told_so(ready_account, endpoint_toml, capsys):
    ready_account.fleet.outcomes.append(REASON)
    assert create(endpoint_toml, "--keep-on-failure") == 1
    assert num_sagemaker_resources(ready_account) == 3
    assert "it costs money until: python -m deploy delete" in capsys.readouterr().err
    assert create(endpoint_toml) == 1
    assert "a failed endpoint can only be deleted: python -m deploy delete" in capsys.readouterr().err
    assert main(["status", "--file", str(endpoint_toml)]) == 1
    assert REASON in capsys.readouterr().out


def test_a_failed_update_keeps_the_old_fleet_and_unmakes_the_new_configuration(ready_account, endpoint_toml, capsys):
    assert create(endpoint_toml) == 0
    before = ready_account.client("sagemaker").describe_endpoint(EndpointName="talker")["EndpointConfigName"]
    endpoint_toml.write_text(endpoint_toml.read_text().replace('golden = "require"', 'golden = "off"'))
    ready_account.fleet.outcomes.append(REASON)
    assert main(["update", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 1
    after = ready_account.client("sagemaker").describe_endpoint(EndpointName="talker")
    assert after["EndpointConfigName"] == before
    assert num_sagemaker_resources(ready_account) == 3
    assert f"went back to {before}" in capsys.readouterr().err
    assert main(["rollback", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 1
    assert "knows of no earlier configuration" in capsys.readouterr().err


def test_an_image_that_was_not_pushed_stops_before_anything_is_made(ready_account, endpoint_toml, capsys):
    endpoint_toml.write_text(endpoint_toml.read_text().replace('tag = "0.1.0"', 'tag = "0.2.0"'))
    assert create(endpoint_toml) == 1
    assert "openchatkit-server:0.2.0 is not in ECR" in capsys.readouterr().err
    assert num_sagemaker_resources(ready_account) == 0


def test_an_unfinished_upload_stops_before_anything_is_made(ready_account, endpoint_toml, capsys):
    folder = endpoint_toml.parent / "chat"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    text = endpoint_toml.read_text().replace("[artifacts.chat]\n", '[artifacts.chat]\nfolder = "chat"\n')
    endpoint_toml.write_text(text)
    ready_account.client("s3").delete_object(Bucket="models-of-ours", Key="chat-20b-tp4/manifest.json")
    assert create(endpoint_toml) == 1
    assert "artifacts.chat: the upload to s3://models-of-ours/chat-20b-tp4/ did not finish" in capsys.readouterr().err
    assert num_sagemaker_resources(ready_account) == 0


def test_credentials_for_another_account_stop_before_anything_is_made(ready_account, endpoint_toml, capsys):
    endpoint_toml.write_text(endpoint_toml.read_text().replace("123456789012", "210987654321"))
    assert create(endpoint_toml) == 1
    assert "the credentials are for account 123456789012" in capsys.readouterr().err


def test_no_credentials_are_a_sentence_and_not_a_traceback(aws_server, endpoint_toml, capsys, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    assert create(endpoint_toml) == 1
    assert "error: sts GetCallerIdentity: Unable to locate credentials" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("tensor_parallel_degree = 4", "tensor_paralel_degree = 4", "did you mean OCK_TENSOR_PARALLEL_DEGREE?"),
        ("tensor_parallel_degree = 4", "tensor_parallel_degree = 8", "ml.g5.12xlarge has 4 GPUs"),
        ("[encryption]", "[encrypion]", "encrypion is not a key; did you mean encryption?"),
        ('store = "dynamodb://', 'store = "dynamo://', "legal are sqlite:///path"),
    ],
)
def test_a_mistake_in_the_file_stops_before_anything_is_sent(ready_account, endpoint_toml, capsys, old, new, sentence):
    endpoint_toml.write_text(endpoint_toml.read_text().replace(old, new))
    assert create(endpoint_toml) == 1
    assert sentence in capsys.readouterr().err
    assert ready_account.recorder.num_requests == 0


def test_logs_prints_events_oldest_first(ready_account, endpoint_toml, capsys):
    write_log(ready_account, "first", "second")
    assert main(["logs", "--file", str(endpoint_toml)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["i-0123 first", "i-0123 second"]
