"""delete: what is asked, what goes, what is left."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import AwsServer


def delete(endpoint_toml: Path, *more: str) -> int:
    return main(["delete", "--file", str(endpoint_toml), "--poll-s", "0.01", *more])


@pytest.fixture
def running(ready_account: AwsServer, endpoint_toml: Path) -> AwsServer:
    """The endpoint after a create and an update: two configurations, two models; and a table with conversations."""
    ready_account.client("dynamodb").create_table(
        TableName="talker-conversations",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
    )
    ready_account.client("logs").create_log_group(logGroupName="/aws/sagemaker/Endpoints/talker")
    assert main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    endpoint_toml.write_text(endpoint_toml.read_text().replace('golden = "require"', 'golden = "off"'))
    assert main(["update", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    return ready_account


def inventory(server: AwsServer) -> dict[str, int]:
    """Everything in the account that could cost money."""
    sagemaker = server.client("sagemaker")
    scaling = server.client("application-autoscaling")
    return {
        "endpoints": len(sagemaker.list_endpoints()["Endpoints"]),
        "configs": len(sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        "models": len(sagemaker.list_models()["Models"]),
        "targets": len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]),
        "tables": len(server.client("dynamodb").list_tables()["TableNames"]),
        "repositories": len(server.client("ecr").describe_repositories()["repositories"]),
        "objects": server.client("s3").list_objects_v2(Bucket="models-of-ours")["KeyCount"],
        "log groups": len(server.client("logs").describe_log_groups()["logGroups"]),
    }


def test_delete_everything_leaves_nothing(running, endpoint_toml, capsys):
    assert inventory(running)["configs"] == 2
    assert delete(endpoint_toml, "--everything", "--yes") == 0
    assert set(inventory(running).values()) == {0}
    assert "nothing of talker is left" in capsys.readouterr().err


def test_delete_leaves_conversations_image_and_artifacts(running, endpoint_toml):
    assert delete(endpoint_toml, "--yes") == 0
    left = inventory(running)
    assert [left[what] for what in ("endpoints", "configs", "models", "targets")] == [0, 0, 0, 0]
    assert [left[what] for what in ("tables", "repositories", "objects")] == [1, 1, 8]


def test_each_deletion_is_confirmed_and_a_refused_one_is_named(running, endpoint_toml, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\ny\ny\ny\ny\nn\ny\ny\ny\ny\ny\ny\n"))
    assert delete(endpoint_toml, "--everything") == 1
    said = capsys.readouterr().err
    assert "delete DynamoDB table with 0 items of conversations talker-conversations? [y/N]" in said
    assert "still there: DynamoDB table" in said
    left = inventory(running)
    assert left.pop("tables") == 1
    assert set(left.values()) == {0}


def test_an_endpoint_that_is_kept_keeps_its_configuration_and_model(running, endpoint_toml, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n" + "y\n" * 10))
    assert delete(endpoint_toml) == 1
    left = inventory(running)
    assert (left["endpoints"], left["configs"], left["models"]) == (1, 2, 2)


def test_another_endpoint_whose_name_begins_alike_is_left_alone(running, endpoint_toml):
    other = endpoint_toml.with_name("other.toml")
    other.write_text(endpoint_toml.read_text().replace('name = "talker"', 'name = "talker-two"'))
    assert main(["create", "--file", str(other), "--poll-s", "0.01"]) == 0
    assert delete(endpoint_toml, "--yes") == 0
    left = inventory(running)
    assert (left["endpoints"], left["configs"], left["models"], left["targets"]) == (1, 1, 1, 1)


def test_a_dry_run_of_delete_prints_requests_and_sends_none(running, endpoint_toml, capsys):
    running.recorder.clear()
    capsys.readouterr()
    assert delete(endpoint_toml, "--everything", "--dry-run") == 0
    operations = [json.loads(line)["operation"] for line in capsys.readouterr().out.splitlines()]
    for operation in ("DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel", "DeleteTable", "DeleteRepository"):
        assert operation in operations
    assert running.recorder.num_requests == 0


@pytest.fixture
def prepared(aws_server: AwsServer, endpoint_toml: Path) -> AwsServer:
    """The bucket and the role as `prepare` leaves them."""
    assert main(["prepare", "--file", str(endpoint_toml)]) == 0
    return aws_server


def test_a_bucket_of_ours_that_holds_something_else_is_named_with_what_is_in_it(prepared, endpoint_toml, capsys):
    s3 = prepared.client("s3")
    for name in ("chat-20b-tp2/manifest.json", "notes/1", "notes/2", "notes/3", "notes/4"):
        s3.put_object(Bucket="models-of-ours", Key=name, Body=b"x")
    assert delete(endpoint_toml, "--everything", "--yes") == 1
    said = capsys.readouterr().err
    assert (
        "still there: bucket models-of-ours, which holds chat-20b-tp2/manifest.json, notes/1, notes/2 and 2 more"
    ) in said
    assert "nothing of talker is left" not in said
    assert len(s3.list_buckets()["Buckets"]) == 1


def test_objects_that_s3_keeps_are_said_although_its_answer_is_no_error(prepared, endpoint_toml, capsys):
    s3 = prepared.client("s3")
    for name in ("manifest.json", "rank-0.safetensors"):
        s3.put_object(Bucket="models-of-ours", Key=f"chat-20b-tp4/{name}", Body=b"x")
    denied = "arn:aws:s3:::models-of-ours/chat-20b-tp4/manifest.json"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": denied}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    s3.put_bucket_policy(Bucket="models-of-ours", Policy=policy)
    assert delete(endpoint_toml, "--everything", "--yes") == 1
    said = capsys.readouterr().err
    assert "S3 keeps 1 of 2 objects, the first is chat-20b-tp4/manifest.json: AccessDenied" in said
    assert "bucket models-of-ours, which holds chat-20b-tp4/manifest.json" in said


def test_the_parts_of_a_killed_upload_are_taken_away(prepared, endpoint_toml, capsys):
    s3 = prepared.client("s3")
    for key in ("chat-20b-tp4/rank-0.safetensors", "elsewhere/rank-0.safetensors"):
        upload = s3.create_multipart_upload(Bucket="models-of-ours", Key=key)
        s3.upload_part(Bucket="models-of-ours", Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 1000)
    delete(endpoint_toml, "--everything", "--yes")
    assert "artifacts.chat: 0 objects, 0.0 GB and 1 unfinished uploads" in capsys.readouterr().err
    left = [] if not s3.list_buckets()["Buckets"] else s3.list_multipart_uploads(Bucket="models-of-ours")["Uploads"]
    assert "chat-20b-tp4/rank-0.safetensors" not in [upload["Key"] for upload in left]
