"""--dry-run: the same requests as the real thing, printed, and nothing on the wire."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import AwsServer

EXPECTED = {
    "create": ["CreateModel", "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy"],
    "update": ["CreateModel", "CreateEndpointConfig", "AddTags", "UpdateEndpoint", "RegisterScalableTarget"],
    "rollback": ["DescribeEndpoint", "ListTags", "AddTags", "UpdateEndpoint"],
    "status": ["DescribeEndpoint", "DescribeEndpointConfig", "DescribeModel", "DescribeScalableTargets"],
    "autoscale": ["RegisterScalableTarget", "PutScalingPolicy"],
    "logs": ["FilterLogEvents"],
    "delete": ["DescribeEndpoint", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"],
}


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("verb", EXPECTED)
def test_each_verb_prints_its_requests_in_order_and_sends_nothing(aws_server, endpoint_toml, capsys, verb):
    assert main([verb, "--file", str(endpoint_toml), "--dry-run"]) == 0
    operations = [line["operation"] for line in printed(capsys)]
    wanted = [operation for operation in operations if operation in EXPECTED[verb]]
    assert list(dict.fromkeys(wanted)) == EXPECTED[verb]
    assert aws_server.recorder.num_requests == 0


def test_a_dry_run_of_create_prints_what_create_sends(ready_account: AwsServer, endpoint_toml: Path, capsys):
    digest = ready_account.client("ecr").describe_images(repositoryName="openchatkit-server")["imageDetails"][0]
    text = endpoint_toml.read_text().replace(
        "[artifacts", "[timeouts]\ndownload_s = 900\nstartup_s = 900\n[artifacts", 1
    )
    endpoint_toml.write_text(text.replace('cuda = "12.6"\n', f'cuda = "12.6"\ndigest = "{digest["imageDigest"]}"\n'))
    assert main(["create", "--file", str(endpoint_toml), "--dry-run"]) == 0
    dry = {line["operation"]: line["parameters"] for line in printed(capsys)}
    ready_account.recorder.clear()
    assert main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    for operation in EXPECTED["create"]:
        assert ready_account.recorder.of(operation) == [dry[operation]], operation


def test_a_dry_run_needs_no_credentials(endpoint_toml, capsys, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(["create", "--file", str(endpoint_toml), "--dry-run"]) == 0
    assert printed(capsys)[0]["operation"] == "GetCallerIdentity"
