"""An endpoint whose model is an inference component: made, moved, returned, scaled, asked and taken away."""

from __future__ import annotations

import json

import pytest

from deploy.__main__ import main
from tests.aws.deploy.aws_account import ROLE, put_image
from tests.aws.deploy.test_lifecycle import change, deploy

TABLE = "[inference_component]\nmemory_mib = 65536\n"
NAME = "talker-component"


@pytest.fixture
def shared_toml(endpoint_toml):
    change(endpoint_toml, "[tags]", f"{TABLE}[tags]")
    return endpoint_toml


def component(server):
    return server.client("sagemaker").describe_inference_component(InferenceComponentName=NAME)


def test_create_makes_bare_machines_and_then_a_component_with_the_model(ready_account, shared_toml):
    change(shared_toml, "memory_mib", "max_instances = 2\nmemory_mib")
    assert deploy("create", shared_toml) == 0
    (model,) = ready_account.recorder.of("CreateModel")
    (config,) = ready_account.recorder.of("CreateEndpointConfig")
    (variant,) = config["ProductionVariants"]
    assert not {"ModelName", "InitialVariantWeight", "ContainerStartupHealthCheckTimeoutInSeconds"} & set(variant)
    assert variant["ManagedInstanceScaling"] == {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 2}
    assert config["ExecutionRoleArn"] == ROLE
    assert config["VpcConfig"] == model["VpcConfig"]
    (made,) = ready_account.recorder.of("CreateInferenceComponent")
    assert (made["EndpointName"], made["VariantName"]) == ("talker", "main")
    assert made["RuntimeConfig"] == {"CopyCount": 1}
    assert made["Specification"] == {
        "ModelName": model["ModelName"],
        "StartupParameters": {
            "ModelDataDownloadTimeoutInSeconds": 600,
            "ContainerStartupHealthCheckTimeoutInSeconds": 600,
        },
        "ComputeResourceRequirements": {"MinMemoryRequiredInMb": 65536, "NumberOfAcceleratorDevicesRequired": 4},
    }
    assert component(ready_account)["InferenceComponentStatus"] == "InService"
    assert deploy("create", shared_toml) == 0
    assert len(ready_account.recorder.of("CreateInferenceComponent")) == 1


def test_copies_are_scaled_by_their_own_metric(ready_account, shared_toml):
    assert deploy("create", shared_toml) == 0
    (target,) = ready_account.recorder.of("RegisterScalableTarget")
    assert target["ResourceId"] == f"inference-component/{NAME}"
    assert target["ScalableDimension"] == "sagemaker:inference-component:DesiredCopyCount"
    (policy,) = ready_account.recorder.of("PutScalingPolicy")
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    metric = tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]
    assert metric == "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"


def test_update_and_rollback_move_the_component_and_leave_the_machines(ready_account, shared_toml, capsys):
    assert deploy("create", shared_toml) == 0
    first = component(ready_account)["Specification"]["ModelName"]
    assert deploy("update", shared_toml) == 0
    assert not ready_account.recorder.of("UpdateInferenceComponent"), "nothing has changed"
    put_image(ready_account, "0.1.0", "second")
    assert deploy("update", shared_toml) == 0
    second = component(ready_account)["Specification"]["ModelName"]
    (moved,) = ready_account.recorder.of("UpdateInferenceComponent")
    assert moved["DeploymentConfig"]["RollingUpdatePolicy"]["MaximumBatchSize"]["Type"] == "CAPACITY_PERCENT"
    assert second != first
    assert not ready_account.recorder.of("UpdateEndpoint")
    for model in (first, second):
        assert deploy("rollback", shared_toml) == 0
        assert component(ready_account)["Specification"]["ModelName"] == model
    assert deploy("status", shared_toml) == 0
    assert f"{NAME}: InService, 1 of 1 copies" in capsys.readouterr().out


def test_a_component_that_does_not_come_up_leaves_nothing(ready_account, shared_toml, capsys):
    ready_account.fleet.components.outcomes.append("out of memory")
    assert deploy("create", shared_toml) == 1
    assert f"error: inference component {NAME} is Failed: out of memory" in capsys.readouterr().err
    sagemaker = ready_account.client("sagemaker")
    assert not ready_account.fleet.components.known
    assert sagemaker.list_endpoints()["Endpoints"] == sagemaker.list_models()["Models"] == []


def test_a_move_that_fails_keeps_the_old_model(ready_account, shared_toml, capsys):
    assert deploy("create", shared_toml) == 0
    first = component(ready_account)["Specification"]["ModelName"]
    put_image(ready_account, "0.1.0", "second")
    ready_account.fleet.components.outcomes.append("no ping")
    assert deploy("update", shared_toml) == 1
    assert f"{NAME} went back to {first} instead of taking" in capsys.readouterr().err
    models = ready_account.client("sagemaker").list_models()["Models"]
    assert [model["ModelName"] for model in models] == [first]
    assert deploy("rollback", shared_toml) == 1
    assert "knows of no earlier model" in capsys.readouterr().err


def test_machines_that_have_moved_stay_when_the_component_does_not_follow(ready_account, shared_toml):
    assert deploy("create", shared_toml) == 0
    put_image(ready_account, "0.1.0", "second")
    change(shared_toml, "[network]", '[instance]\ntype = "ml.g6.12xlarge"\n[network]')
    ready_account.fleet.components.outcomes.append("no ping")
    assert deploy("update", shared_toml) == 1
    sagemaker = ready_account.client("sagemaker")
    serving = sagemaker.describe_endpoint(EndpointName="talker")["EndpointConfigName"]
    (variant,) = sagemaker.describe_endpoint_config(EndpointConfigName=serving)["ProductionVariants"]
    assert variant["InstanceType"] == "ml.g6.12xlarge"
    assert deploy("update", shared_toml) == 0
    assert len(ready_account.recorder.of("UpdateEndpoint")) == 1


def test_delete_takes_the_component_before_its_endpoint(ready_account, shared_toml):
    assert deploy("create", shared_toml) == 0
    ready_account.recorder.clear()
    assert deploy("delete", shared_toml, "--yes") == 0
    gone = [entry.operation for entry in ready_account.recorder.received if entry.operation.startswith("Delete")]
    assert gone == ["DeleteInferenceComponent", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]


def test_a_question_names_the_component(ready_account, shared_toml, capsys):
    assert main(["invoke", "--file", str(shared_toml), "--dry-run", "Hello!"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"]["InferenceComponentName"] == NAME


@pytest.mark.parametrize(("old", "new", "said"), [
    ("memory_mib = 65536", "", "inference_component.memory_mib is missing"),
    ("memory_mib = 65536", "memory_mib = 1", "inference_component.memory_mib=1"),
    ("memory_mib = 65536", "memory_mib = 65536\naccelerators = 8", "a copy has one machine, and ml.g5.12xlarge has 4"),
    ("[tags]", '[asynchronous]\noutput = "s3://models-of-ours/a/"\n[tags]', "SageMaker has one or the other"),
])  # fmt: skip
def test_what_cannot_be_is_said_before_anything_is_made(ready_account, shared_toml, capsys, old, new, said):
    change(shared_toml, old, new)
    assert deploy("create", shared_toml) == 1
    assert said in capsys.readouterr().err
    assert not ready_account.recorder.of("CreateModel")


def test_terraform_has_no_such_resource(ready_account, shared_toml, capsys):
    assert deploy("terraform", shared_toml) == 1
    assert "has no such resource" in capsys.readouterr().err
