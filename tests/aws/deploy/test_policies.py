"""The policies that prepare prints and puts: they allow what the code sends, and say no more than the file needs."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

import deploy
from deploy.account import policies
from deploy.aws.request_check import model_session
from deploy.errors import DeployError
from deploy.specification.endpoint_file import EndpointFile, read
from deploy.specification.environment import environment
from deploy.specification.names import endpoint_arn
from tests.aws.deploy.aws_account import ACCOUNT, REGION, ROLE

BUILDER = f"arn:aws:iam::{ACCOUNT}:role/builds/builder"
INDEX_JOB = f'[index_job]\nsource = "s3://papers/all/"\nrole = "arn:aws:iam::{ACCOUNT}:role/indexer"\n'
SERVICES = {
    "application-autoscaling": "application-autoscaling",
    "codebuild": "codebuild",
    "dynamodb": "dynamodb",
    "ecr": "ecr",
    "iam": "iam",
    "logs": "logs",
    "s3": "s3",
    "service-quotas": "servicequotas",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "sts": "sts",
}
# Where the action is called otherwise than the operation.
ACTIONS = {
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:HeadBucket": "s3:ListBucket",
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "s3:PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
}
# What boto3's upload_file sends.
TRANSFER = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload", "PutObject")
# What happens on the caller's account behind a request of deploy, by AWS's documentation of that request.
BEHIND = {
    "sagemaker:UpdateEndpointWeightsAndCapacities",  # RegisterScalableTarget
    "sagemaker:UpdateInferenceComponentRuntimeConfig",  # the same of an inference component
    "cloudwatch:PutMetricAlarm",  # PutScalingPolicy
    "iam:PassRole",
    "iam:TagRole",
    "ecr:TagResource",
    "ecr:PutImage",
    "ecr:InitiateLayerUpload",
    "sagemaker:CallWithBearerToken",  # the verb `token`
}


def nodes_of_the_code() -> Iterator[ast.AST]:
    """Every piece of syntax in deploy's own modules."""
    for path in Path(deploy.__file__).parent.rglob("*.py"):
        yield from ast.walk(ast.parse(path.read_text()))


def operations_of_the_code() -> set[tuple[str, str]]:
    """Service and operation of every request that deploy's code names, side by side or by the operation alone."""
    found = {("s3", operation) for operation in TRANSFER}
    alone = set()
    for node in nodes_of_the_code():
        if isinstance(node, ast.Call):
            texts = [each.value if isinstance(each, ast.Constant) else None for each in node.args[:2]]
            if len(texts) == 2 and texts[0] in SERVICES and texts[1] is not None:
                found.add((texts[0], texts[1]))
        elif isinstance(node, ast.Constant):
            alone.add(node.value)
        elif isinstance(node, ast.Attribute):
            alone.add(node.attr)
    alone -= {operation for _, operation in found}
    for service in SERVICES:
        for operation in model_session().get_service_model(service).operation_names:
            if operation in alone or (service == "sagemaker-runtime" and xform_name(operation) in alone):
                found.add((service, operation))
    return found


def allowed(policy: str) -> dict[str, list[str]]:
    """Resources by action."""
    found: dict[str, list[str]] = {}
    for statement in json.loads(policy)["Statement"]:
        actions, resources = (_list(statement[key]) for key in ("Action", "Resource"))
        for action in actions:
            found.setdefault(action, []).extend(resources)
    return found


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def file_with(endpoint_toml: Path, *changes: tuple[str, str]) -> EndpointFile:
    text = endpoint_toml.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    endpoint_toml.write_text(text)
    return read(endpoint_toml)


def test_the_deployers_policy_allows_every_operation_that_the_code_names(endpoint_toml):
    file = file_with(endpoint_toml, ("[tags]", INDEX_JOB + "[tags]"))
    actions = {**allowed(policies.deployer_policy(file)), **allowed(policies.preparer_policy(file))}
    operations = operations_of_the_code()
    assert len(operations) > 50
    sent = {f"{SERVICES[service]}:{operation}" for service, operation in operations}
    wanted = {ACTIONS.get(action, action) for action in sent} | BEHIND
    assert wanted - actions.keys() == set()


@pytest.mark.parametrize("operation", ["UpdateEndpoint", "ListMultipartUploads", "InvokeEndpointWithResponseStream"])
def test_the_operations_are_really_found_in_the_code(operation):
    assert operation in {name for _, name in operations_of_the_code()}


def test_names_in_arns_are_in_lower_case_as_sagemaker_writes_them(endpoint_toml):
    file = file_with(endpoint_toml, ('name = "talker"', 'name = "Talker-One"'))
    resources = allowed(policies.deployer_policy(file))["sagemaker:UpdateEndpoint"]
    assert endpoint_arn(file) in resources
    assert f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint-config/talker-one-*" in resources
    assert not any("Talker" in resource for resource in resources)


def test_keys_that_the_file_names_may_be_used_and_no_others(endpoint_toml):
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/0123-abc"
    without = read(endpoint_toml)
    assert not [action for action in allowed(policies.deployer_policy(without)) if action.startswith("kms:")]
    both = file_with(endpoint_toml, ("[encryption]", f'[encryption]\nvolume_key = "alias/x"\nstorage_key = "{key}"'))
    actions = allowed(policies.deployer_policy(both))
    assert actions["kms:GenerateDataKey"] == actions["kms:Decrypt"] == [key]
    assert actions["kms:CreateGrant"] == [key, f"arn:aws:kms:{REGION}:{ACCOUNT}:key/*"]
    assert "kms:DescribeKey" in actions
    assert allowed(policies.endpoint_policies(both)["key"]) == {"kms:Decrypt": [key]}


def test_every_bucket_of_the_file_is_the_deployers(endpoint_toml):
    file = file_with(endpoint_toml, ("s3://models-of-ours/wikipedia/", "s3://indexes-of-ours/wikipedia/"))
    policy = policies.deployer_policy(file)
    names = ("models-of-ours", "indexes-of-ours")
    assert allowed(policy)["s3:PutObject"] == [f"arn:aws:s3:::{name}{rest}" for name in names for rest in ("", "/*")]
    sids = [statement["Sid"] for statement in json.loads(policy)["Statement"]]
    assert len(set(sids)) == len(sids)


def test_the_role_gets_systems_managers_channels_only_with_ssm_access(endpoint_toml):
    assert "shell" not in policies.endpoint_policies(read(endpoint_toml))
    file = file_with(endpoint_toml, ("[tags]", "[instance]\nssm_access = true\n[tags]"))
    actions = allowed(policies.endpoint_policies(file)["shell"])
    channels = ("ControlChannel", "DataChannel")
    assert set(actions) == {f"ssmmessages:{verb}{channel}" for verb in ("Create", "Open") for channel in channels}


def test_the_role_reads_the_file_of_keys_that_the_settings_name_and_nothing_beside_it(endpoint_toml):
    assert "api-keys" not in policies.endpoint_policies(read(endpoint_toml))
    file = file_with(endpoint_toml, ("[settings]", '[settings]\napi_keys_source = "s3://secrets/chat/keys.jsonl"'))
    actions = allowed(policies.endpoint_policies(file)["api-keys"])
    assert actions == {"s3:GetObject": ["arn:aws:s3:::secrets/chat/keys.jsonl"]}
    assert environment(file, 600)["OCK_API_KEYS_SOURCE"] == "s3://secrets/chat/keys.jsonl"


def test_no_policy_reaches_a_role_or_project_that_the_file_does_not_name(endpoint_toml):
    file = file_with(endpoint_toml, ("[artifacts.chat]", f'codebuild_role = "{BUILDER}"\n[artifacts.chat]'))
    for policy in (policies.deployer_policy(file), policies.preparer_policy(file)):
        for statement in json.loads(policy)["Statement"]:
            for resource in _list(statement["Resource"]):
                assert not re.search(r"(role|project|repository|table|log-group:/aws/\w+)/\*$", resource), statement
    assert allowed(policies.deployer_policy(file))["iam:PassRole"] == [file.role, BUILDER]
    assert allowed(policies.preparer_policy(file))["iam:PutRolePolicy"] == [file.role, BUILDER]


def test_the_deployer_can_write_no_policy_and_make_no_role(endpoint_toml):
    actions = allowed(policies.deployer_policy(read(endpoint_toml)))
    assert {action for action in actions if action.startswith("iam:")} == {
        "iam:PassRole",
        "iam:CreateServiceLinkedRole",
    }


def test_a_role_is_taken_on_for_this_account_alone(endpoint_toml):
    (statement,) = json.loads(policies.trust(read(endpoint_toml), "sagemaker.amazonaws.com"))["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_every_partition_has_its_own_names(endpoint_toml):
    role = f"arn:aws-eusc:iam::{ACCOUNT}:role/openchatkit-endpoint"
    key = ("[encryption]", '[encryption]\nstorage_key = "0123-abc"')
    file = file_with(endpoint_toml, (REGION, "eusc-de-east-1"), (ROLE, role), key)
    assert file.registry == f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu"
    policy = policies.deployer_policy(file)
    assert "arn:aws:" not in policy
    assert "s3.eusc-de-east-1.amazonaws.eu" in policy


def test_a_role_of_another_partition_than_the_region_is_refused(endpoint_toml):
    with pytest.raises(DeployError, match=r"region='eusc-de-east-1' belongs to partition aws-eusc, and role to aws$"):
        file_with(endpoint_toml, (REGION, "eusc-de-east-1"))
