"""create, status, update, rollback and delete against moto's server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import ROLE, AwsServer, put_image


def deploy(verb: str, endpoint_toml: Path, *more: str) -> int:
    pace = ["--poll-s", "0.01"] if verb in ("create", "update", "rollback", "delete", "autoscale") else []
    return main([verb, "--file", str(endpoint_toml), *pace, *more])


def change(endpoint_toml: Path, old: str, new: str) -> None:
    text = endpoint_toml.read_text()
    assert old in text
    endpoint_toml.write_text(text.replace(old, new))


def serving_config(server: AwsServer) -> str:
    return server.client("sagemaker").describe_endpoint(EndpointName="talker")["EndpointConfigName"]


def test_create_sends_the_model_with_every_artifact_in_its_channel(ready_account, endpoint_toml):
    assert deploy("create", endpoint_toml) == 0
    (model,) = ready_account.recorder.of("CreateModel")
    container = model["PrimaryContainer"]
    source = {"S3DataType": "S3Prefix", "CompressionType": "None"}
    assert container["ModelDataSource"] == {"S3DataSource": {"S3Uri": "s3://models-of-ours/chat-20b-tp4/", **source}}
    assert container["AdditionalModelDataSources"] == [
        {"ChannelName": name, "S3DataSource": {"S3Uri": f"s3://models-of-ours/{folder}/", **source}}
        for name, folder in [("moderation", "moderation-6b-tp4"), ("index", "wikipedia"), ("encoder", "contriever")]
    ]
    image = ready_account.client("ecr").describe_images(repositoryName="openchatkit-server")["imageDetails"][0]
    registry = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert container["Image"] == f"{registry}/openchatkit-server@{image['imageDigest']}"
    assert model["ExecutionRoleArn"] == ROLE
    assert model["EnableNetworkIsolation"] is False
    assert model["VpcConfig"] == {"SecurityGroupIds": ["sg-0ccc"], "Subnets": ["subnet-0aaa", "subnet-0bbb"]}
    assert model["Tags"] == [{"Key": "openchatkit:endpoint", "Value": "talker"}, {"Key": "team", "Value": "chat"}]


def test_create_sends_the_settings_as_the_containers_environment(ready_account, endpoint_toml):
    assert deploy("create", endpoint_toml) == 0
    (model,) = ready_account.recorder.of("CreateModel")
    channels = "/opt/ml/additional-model-data-sources"
    assert model["PrimaryContainer"]["Environment"] == {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "OCK_CHAT_MODEL": "/opt/ml/model",
        "OCK_MODERATION_MODEL": f"{channels}/moderation",
        "OCK_INDEX": f"{channels}/index",
        "OCK_ENCODER": f"{channels}/encoder",
        "OCK_TENSOR_PARALLEL_DEGREE": "4",
        "OCK_DTYPE": "float16",
        "OCK_STORE": "dynamodb://talker-conversations",
        "OCK_GOLDEN": "require",
        "OCK_START_TIMEOUT_S": "540",
    }


def test_create_sends_one_variant_with_timeouts_driver_routing_and_metrics(ready_account, endpoint_toml):
    assert deploy("create", endpoint_toml) == 0
    (model,) = ready_account.recorder.of("CreateModel")
    (config,) = ready_account.recorder.of("CreateEndpointConfig")
    assert config["ProductionVariants"] == [
        {
            "VariantName": "main",
            "ModelName": model["ModelName"],
            "InstanceType": "ml.g5.12xlarge",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": 1.0,
            "ModelDataDownloadTimeoutInSeconds": 600,
            "ContainerStartupHealthCheckTimeoutInSeconds": 600,
            "EnableSSMAccess": False,
            "RoutingConfig": {"RoutingStrategy": "LEAST_OUTSTANDING_REQUESTS"},
            "InferenceAmiVersion": "al2023-ami-sagemaker-inference-gpu-4-1",
        }
    ]
    assert config["MetricsConfig"] == {
        "EnableEnhancedMetrics": False,
        "EnableDetailedObservability": True,
        "MetricPublishFrequencyInSeconds": 60,
    }
    assert "KmsKeyId" not in config
    (endpoint,) = ready_account.recorder.of("CreateEndpoint")
    assert endpoint == {
        "EndpointName": "talker",
        "EndpointConfigName": config["EndpointConfigName"],
        "Tags": model["Tags"],
    }


def test_create_scales_on_concurrent_requests_per_model(ready_account, endpoint_toml):
    assert deploy("create", endpoint_toml) == 0
    (target,) = ready_account.recorder.of("RegisterScalableTarget")
    (policy,) = ready_account.recorder.of("PutScalingPolicy")
    variant = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": "endpoint/talker/variant/main",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    assert target == {**variant, "MinCapacity": 1, "MaxCapacity": 3}
    tracking = policy.pop("TargetTrackingScalingPolicyConfiguration")
    assert policy == {**variant, "PolicyName": "talker-concurrent-requests", "PolicyType": "TargetTrackingScaling"}
    assert tracking == {
        "TargetValue": 8.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
        },
        "ScaleInCooldown": 600,
        "ScaleOutCooldown": 60,
    }


def test_a_second_create_makes_nothing_new(ready_account, endpoint_toml):
    assert deploy("create", endpoint_toml) == 0
    ready_account.recorder.clear()
    assert deploy("create", endpoint_toml) == 0
    made = [entry.operation for entry in ready_account.recorder.received if entry.operation.startswith("Create")]
    assert made == []


def test_create_of_a_changed_file_points_to_update(ready_account, endpoint_toml, capsys):
    assert deploy("create", endpoint_toml) == 0
    change(endpoint_toml, "[tags]", '[routing]\nstrategy = "RANDOM"\n[tags]')
    assert deploy("create", endpoint_toml) == 1
    assert "python -m deploy update" in capsys.readouterr().err


def test_update_moves_to_a_new_configuration_and_rollback_returns(ready_account, endpoint_toml):
    deploy("create", endpoint_toml)
    first = serving_config(ready_account)
    change(endpoint_toml, 'golden = "require"', 'golden = "if_present"')
    assert deploy("update", endpoint_toml) == 0
    second = serving_config(ready_account)
    assert second != first
    (update,) = ready_account.recorder.of("UpdateEndpoint")
    assert update == {
        "EndpointName": "talker",
        "EndpointConfigName": second,
        "RetainAllVariantProperties": True,
        "DeploymentConfig": {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 60},
                "TerminationWaitInSeconds": 60,
            }
        },
    }
    assert deploy("rollback", endpoint_toml) == 0
    assert serving_config(ready_account) == first
    assert deploy("rollback", endpoint_toml) == 0
    assert serving_config(ready_account) == second


def test_pushing_the_tag_again_is_an_update(ready_account, endpoint_toml):
    deploy("create", endpoint_toml)
    put_image(ready_account, "0.1.0", "second")
    assert deploy("update", endpoint_toml) == 0
    images = [model["PrimaryContainer"]["Image"] for model in ready_account.recorder.of("CreateModel")]
    assert len(set(images)) == 2


def test_update_without_a_change_sends_nothing(ready_account, endpoint_toml, capsys):
    deploy("create", endpoint_toml)
    assert deploy("update", endpoint_toml) == 0
    assert "nothing to change" in capsys.readouterr().err
    assert ready_account.recorder.of("UpdateEndpoint") == []


def test_rollback_without_an_earlier_configuration_says_so(ready_account, endpoint_toml, capsys):
    deploy("create", endpoint_toml)
    assert deploy("rollback", endpoint_toml) == 1
    assert "knows of no earlier configuration" in capsys.readouterr().err


def test_status_tells_fleet_image_and_configurations(ready_account, endpoint_toml, capsys):
    deploy("create", endpoint_toml)
    first = serving_config(ready_account)
    change(endpoint_toml, 'golden = "require"', 'golden = "off"')
    deploy("update", endpoint_toml)
    capsys.readouterr()
    assert deploy("status", endpoint_toml, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "InService"
    assert found["config"] == serving_config(ready_account)
    assert found["previous_config"] == first
    assert found["variants"][0]["instance_type"] == "ml.g5.12xlarge"
    assert found["autoscaling"] == "1 to 3 instances"
    assert "@sha256:" in found["image"]


def test_status_of_no_endpoint_is_absent_and_not_zero(ready_account, endpoint_toml, capsys):
    assert deploy("status", endpoint_toml) == 1
    assert "talker: absent" in capsys.readouterr().out


def test_autoscale_off_takes_the_target_away(ready_account, endpoint_toml):
    deploy("create", endpoint_toml)
    assert deploy("autoscale", endpoint_toml, "--off") == 0
    scaling = ready_account.client("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    assert deploy("autoscale", endpoint_toml) == 0
    assert len(scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]) == 1


@pytest.mark.parametrize(
    ("traffic", "expected"),
    [
        ("canary", {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 20}}),
        ("linear", {"Type": "LINEAR", "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 20}}),
    ],
)
def test_update_shifts_traffic_as_the_file_says(ready_account, endpoint_toml, traffic, expected):
    deploy("create", endpoint_toml)
    change(endpoint_toml, "[tags]", f'[update]\ntraffic = "{traffic}"\nrollback_alarms = ["errors"]\n[tags]\nb = "2"')
    assert deploy("update", endpoint_toml) == 0
    deployment = ready_account.recorder.of("UpdateEndpoint")[0]["DeploymentConfig"]
    routing = deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing == {**expected, "WaitIntervalInSeconds": 60}
    assert deployment["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "errors"}]}


def test_another_instance_type_takes_autoscaling_away_for_the_move(ready_account, endpoint_toml):
    deploy("create", endpoint_toml)
    change(endpoint_toml, "[tags]", '[instance]\ntype = "ml.g5.48xlarge"\n[tags]')
    for verb in ("update", "rollback"):
        ready_account.recorder.clear()
        assert deploy(verb, endpoint_toml) == 0
        moves = {"DeregisterScalableTarget", "UpdateEndpoint", "RegisterScalableTarget"}
        order = [entry.operation for entry in ready_account.recorder.received if entry.operation in moves]
        assert order == ["DeregisterScalableTarget", "UpdateEndpoint", "RegisterScalableTarget"]


def test_an_endpoint_that_is_still_being_made_is_deleted_when_it_has_settled(ready_account, endpoint_toml):
    sagemaker = ready_account.client("sagemaker")
    sagemaker.create_model(ModelName="talker-0123456789ab", ExecutionRoleArn=ROLE)
    variant = {"VariantName": "main", "ModelName": "talker-0123456789ab", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="talker-0123456789ab", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="talker", EndpointConfigName="talker-0123456789ab")
    assert deploy("delete", endpoint_toml, "--yes") == 0
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
