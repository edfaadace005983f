"""terraform: the same model, configuration, endpoint and rights as create and prepare make, in Terraform's words."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.__main__ import main
from tests.aws.deploy.aws_account import ROLE, AwsServer

INDEXER = f"{ROLE.rpartition('/')[0]}/indexer"


def test_the_file_says_what_create_sends_and_nothing_is_made(
    ready_account: AwsServer, endpoint_toml: Path, tmp_path: Path
) -> None:
    out = tmp_path / "main.tf.json"
    assert main(["terraform", "--file", str(endpoint_toml), "--out", str(out)]) == 0
    assert ready_account.recorder.of("CreateModel") == []
    written = json.loads(out.read_text())["resource"]
    assert main(["create", "--file", str(endpoint_toml), "--poll-s", "0.01"]) == 0
    (sent,) = ready_account.recorder.of("CreateModel")
    model = written["aws_sagemaker_model"]["chat"]
    container = model["primary_container"]
    assert model["name"] == sent["ModelName"]
    assert container["image"] == sent["PrimaryContainer"]["Image"]
    assert container["environment"] == sent["PrimaryContainer"]["Environment"]
    assert container["model_data_source"]["s3_data_source"]["s3_uri"] == "s3://models-of-ours/chat-20b-tp4/"
    channels = [each["channel_name"] for each in container["additional_model_data_source"]]
    assert channels == ["moderation", "index", "encoder"]
    (variant,) = written["aws_sagemaker_endpoint_configuration"]["chat"]["production_variants"]
    assert variant["instance_type"] == "ml.g5.12xlarge"
    assert variant["model_name"] == "${aws_sagemaker_model.chat.name}"
    assert variant["inference_ami_version"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    assert variant["enable_ssm_access"] is False
    endpoint = written["aws_sagemaker_endpoint"]["chat"]
    assert endpoint["deployment_config"]["blue_green_update_policy"]["termination_wait_in_seconds"] == 60
    target = written["aws_appautoscaling_target"]["chat"]
    assert (target["min_capacity"], target["max_capacity"]) == (1, 3)


def test_roles_and_policies_are_those_of_prepare(ready_account: AwsServer, endpoint_toml: Path, tmp_path: Path) -> None:
    out = tmp_path / "main.tf.json"
    with endpoint_toml.open("a") as file:
        file.write(f'\n[index_job]\nsource = "s3://papers/all/"\nrole = "{INDEXER}"\n')
    assert main(["terraform", "--file", str(endpoint_toml), "--out", str(out)]) == 0
    written = json.loads(out.read_text())["resource"]
    assert main(["prepare", "--file", str(endpoint_toml)]) == 0
    iam = ready_account.client("iam")
    for role, arn in (("endpoint", ROLE), ("index_job", INDEXER)):
        name = arn.rpartition("/")[2]
        assert written["aws_iam_role"][role]["name"] == name
        rights = [
            each for each in written["aws_iam_role_policy"].values() if each["role"] == f"${{aws_iam_role.{role}.id}}"
        ]
        assert {each["name"] for each in rights} == set(iam.list_role_policies(RoleName=name)["PolicyNames"])
        for each in rights:
            document = iam.get_role_policy(RoleName=name, PolicyName=each["name"])["PolicyDocument"]
            assert json.loads(each["policy"]) == document
