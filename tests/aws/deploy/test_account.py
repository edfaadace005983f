"""prepare: roles and bucket, from nothing and back to nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from deploy.__main__ import main
from deploy.aws.api import Call, LiveAws
from tests.aws.deploy.aws_account import ACCOUNT, REGION, AwsServer


def run(verb: str, endpoint_toml: Path, *more: str) -> int:
    return main([verb, "--file", str(endpoint_toml), *more])


@pytest.fixture
def with_build_role(endpoint_toml: Path) -> Path:
    keys = f'codebuild_role = "arn:aws:iam::{ACCOUNT}:role/builders/openchatkit-build"\n'
    keys += 'codebuild_source = "s3://sources-of-ours/builds/"\n'
    endpoint_toml.write_text(endpoint_toml.read_text().replace('cuda = "12.6"\n', f'cuda = "12.6"\n{keys}'))
    return endpoint_toml


def policies(server: AwsServer, role: str) -> dict[str, dict]:
    iam = server.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}


def test_prepare_makes_closed_buckets_and_roles_with_filled_in_policies(aws_server, with_build_role):
    assert run("prepare", with_build_role) == 0
    s3 = aws_server.client("s3")
    assert sorted(b["Name"] for b in s3.list_buckets()["Buckets"]) == ["models-of-ours", "sources-of-ours"]
    block = s3.get_public_access_block(Bucket="models-of-ours")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    role = aws_server.client("iam").get_role(RoleName="openchatkit-endpoint")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    found = policies(aws_server, "openchatkit-endpoint")
    artifacts = {"artifact-chat", "artifact-moderation", "artifact-index", "artifact-encoder"}
    assert set(found) == {"endpoint", "network", "conversations", *artifacts}
    assert found["artifact-chat"]["Statement"][0]["Resource"] == "arn:aws:s3:::models-of-ours/chat-20b-tp4/*"
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/talker-conversations"
    assert {statement["Resource"] for statement in found["conversations"]["Statement"]} == {table}
    assert "${" not in json.dumps(found)
    builder = aws_server.client("iam").get_role(RoleName="openchatkit-build")["Role"]
    assert builder["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/builders/openchatkit-build"
    assert set(policies(aws_server, "openchatkit-build")) == {"build", "sources"}


def test_a_second_prepare_changes_nothing_but_the_policies(aws_server, endpoint_toml):
    assert run("prepare", endpoint_toml) == 0
    endpoint_toml.write_text(endpoint_toml.read_text().replace("chat-20b-tp4", "chat-20b-tp8"))
    assert run("prepare", endpoint_toml) == 0
    resource = policies(aws_server, "openchatkit-endpoint")["artifact-chat"]["Statement"][0]["Resource"]
    assert resource == "arn:aws:s3:::models-of-ours/chat-20b-tp8/*"


def test_a_second_prepare_closes_and_marks_its_own_bucket_again_and_keeps_tags_of_others(aws_server, endpoint_toml):
    assert run("prepare", endpoint_toml) == 0
    s3 = aws_server.client("s3")
    mark = {"Key": "openchatkit:endpoint", "Value": "talker"}
    other = {"Key": "cost-centre", "Value": "7"}
    s3.put_bucket_tagging(Bucket="models-of-ours", Tagging={"TagSet": [mark, other]})
    s3.delete_public_access_block(Bucket="models-of-ours")
    assert run("prepare", endpoint_toml) == 0
    block = s3.get_public_access_block(Bucket="models-of-ours")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    found = s3.get_bucket_tagging(Bucket="models-of-ours")["TagSet"]
    assert found == [other, mark, {"Key": "team", "Value": "chat"}]


def test_a_prepare_that_was_stopped_after_making_the_bucket_is_finished_by_the_next(
    aws_server, endpoint_toml, monkeypatch
):
    send = LiveAws.send

    def stopped(self: LiveAws, call: Call, assumed: dict | None = None) -> dict:
        if call.operation == "PutPublicAccessBlock":
            raise KeyboardInterrupt
        return send(self, call, assumed)

    with monkeypatch.context() as patch:
        patch.setattr(LiveAws, "send", stopped)
        assert run("prepare", endpoint_toml) == 130
    assert run("prepare", endpoint_toml) == 0
    block = aws_server.client("s3").get_public_access_block(Bucket="models-of-ours")
    assert set(block["PublicAccessBlockConfiguration"].values()) == {True}


def test_prepare_leaves_a_bucket_of_somebody_else_as_it_is(aws_server, endpoint_toml, capsys):
    s3 = aws_server.client("s3")
    s3.create_bucket(Bucket="models-of-ours", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert run("prepare", endpoint_toml) == 0
    assert "bucket models-of-ours is there; prepare did not make it" in capsys.readouterr().err
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket="models-of-ours")


def test_delete_everything_takes_away_what_prepare_made(aws_server, with_build_role):
    run("prepare", with_build_role)
    assert run("delete", with_build_role, "--everything", "--yes") == 0
    assert aws_server.client("iam").list_roles()["Roles"] == []
    assert aws_server.client("s3").list_buckets()["Buckets"] == []


def test_delete_everything_leaves_roles_and_buckets_that_were_there_before(aws_server, endpoint_toml):
    iam = aws_server.client("iam")
    iam.create_role(RoleName="openchatkit-endpoint", AssumeRolePolicyDocument='{"Version": "2012-10-17"}')
    location = {"LocationConstraint": REGION}
    aws_server.client("s3").create_bucket(Bucket="models-of-ours", CreateBucketConfiguration=location)
    assert run("prepare", endpoint_toml) == 0
    assert run("delete", endpoint_toml, "--everything", "--yes") == 0
    assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["openchatkit-endpoint"]
    assert len(aws_server.client("s3").list_buckets()["Buckets"]) == 1


def test_a_dry_run_prints_every_request_and_sends_none(aws_server, with_build_role, capsys):
    assert run("prepare", with_build_role, "--dry-run") == 0
    operations = [json.loads(line)["operation"] for line in capsys.readouterr().out.splitlines()]
    assert operations.count("CreateBucket") == 2
    assert operations.count("CreateRole") == 2
    assert aws_server.recorder.num_requests == 0


def test_the_deployers_policy_is_filled_in(endpoint_toml, capsys):
    assert run("prepare", endpoint_toml, "--print-deployer-policy") == 0
    printed = capsys.readouterr().out
    assert "${" not in printed
    statements = {statement["Sid"]: statement for statement in json.loads(printed)["Statement"]}
    assert f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/talker" in statements["Endpoint"]["Resource"]
    assert statements["Artifacts"]["Resource"] == ["arn:aws:s3:::models-of-ours", "arn:aws:s3:::models-of-ours/*"]
