"""delete: what is asked, what goes, what is left."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from aws_account import AwsServer

from deploy.__main__ import main


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
