"""The SageMaker requests of one endpoint, built from endpoint.toml and nothing else: pure functions.

A model and an endpoint configuration are named after a hash of their own request. The same file therefore gives the
same names (a create can be repeated), a changed file gives new ones (an old configuration stays what it was, so that
a rollback returns to exactly that).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from deploy.aws.api import Call
from deploy.specification.endpoint_file import (
    Artifact,
    Asynchronous,
    EndpointFile,
    InferenceComponent,
    Instance,
    Update,
)
from deploy.specification.instance_types import ami_for, num_gpus
from deploy.specification.names import HASH_DIGITS, component_name, tags


def create_model(file: EndpointFile, image: str, environment: dict[str, str]) -> Call:
    """CreateModel for `image`, an address with a digest or a tag."""
    container: dict[str, Any] = {"Image": image, "Environment": environment}
    artifacts = file.artifacts.present()
    if "chat" in artifacts:
        container["ModelDataSource"] = {"S3DataSource": _s3_source(artifacts.pop("chat"))}
    if artifacts:
        container["AdditionalModelDataSources"] = [
            {"ChannelName": name, "S3DataSource": _s3_source(artifact)} for name, artifact in artifacts.items()
        ]
    parameters = {
        "PrimaryContainer": container,
        "ExecutionRoleArn": file.role,
        "EnableNetworkIsolation": file.network.isolation,
        "Tags": tags(file),
        **_vpc(file),
    }
    return Call("sagemaker", "CreateModel", {"ModelName": _named(file.name, parameters), **parameters})


def create_endpoint_config(file: EndpointFile, model: str, download_s: int, startup_s: int) -> Call:
    """CreateEndpointConfig with one variant that serves `model`; where inference components do, with bare machines."""
    if file.inference_component:
        serving = _for_components(file.instance, file.inference_component)
    else:
        serving = {
            "ModelName": model,
            "InitialVariantWeight": 1.0,
            "ModelDataDownloadTimeoutInSeconds": download_s,
            "ContainerStartupHealthCheckTimeoutInSeconds": startup_s,
        }
    parameters: dict[str, Any] = {
        "ProductionVariants": [_variant(file, serving)],
        "MetricsConfig": {
            "EnableEnhancedMetrics": file.metrics.enhanced,
            "EnableDetailedObservability": file.metrics.detailed,
            "MetricPublishFrequencyInSeconds": file.metrics.period_s,
        },
        "Tags": tags(file),
    }
    if file.asynchronous:
        parameters["AsyncInferenceConfig"] = _asynchronous(file, file.asynchronous)
    if file.inference_component:
        parameters |= {"ExecutionRoleArn": file.role, "EnableNetworkIsolation": file.network.isolation} | _vpc(file)
    if file.encryption.volume_key:
        parameters["KmsKeyId"] = file.encryption.volume_key
    name = _named(file.name, parameters)
    return Call("sagemaker", "CreateEndpointConfig", {"EndpointConfigName": name, **parameters})


def create_endpoint(file: EndpointFile, config: str) -> Call:
    """CreateEndpoint on the configuration `config`."""
    parameters = {"EndpointName": file.name, "EndpointConfigName": config, "Tags": tags(file)}
    return Call("sagemaker", "CreateEndpoint", parameters)


def update_endpoint(file: EndpointFile, config: str) -> Call:
    """UpdateEndpoint to `config`: a new fleet beside the old one, which goes when the new one has taken over.

    With autoscaling the number of instances reached so far is kept.
    """
    parameters = {
        "EndpointName": file.name,
        "EndpointConfigName": config,
        "RetainAllVariantProperties": file.autoscaling is not None,
        "DeploymentConfig": _deployment(file.update),
    }
    return Call("sagemaker", "UpdateEndpoint", parameters)


def describe_endpoint(name: str) -> Call:
    """DescribeEndpoint."""
    return Call("sagemaker", "DescribeEndpoint", {"EndpointName": name})


def describe_config(name: str) -> Call:
    """DescribeEndpointConfig."""
    return Call("sagemaker", "DescribeEndpointConfig", {"EndpointConfigName": name})


def describe_component(file: EndpointFile) -> Call:
    """DescribeInferenceComponent."""
    return Call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": component_name(file)})


def _vpc(file: EndpointFile) -> dict[str, Any]:
    network = file.network
    if not network.subnets:
        return {}
    return {"VpcConfig": {"SecurityGroupIds": list(network.security_groups), "Subnets": list(network.subnets)}}


def _s3_source(artifact: Artifact) -> dict[str, str]:
    return {"S3Uri": artifact.s3, "S3DataType": "S3Prefix", "CompressionType": "None"}


def _for_components(instance: Instance, component: InferenceComponent) -> dict[str, Any]:
    """A variant whose machines SageMaker starts and stops as the components' copies need them."""
    if component.max_instances is None:
        return {}
    bounds = {"MinInstanceCount": instance.count, "MaxInstanceCount": component.max_instances}
    return {"ManagedInstanceScaling": {"Status": "ENABLED", **bounds}}


def _variant(file: EndpointFile, serving: dict[str, Any]) -> dict[str, Any]:
    instance = file.instance
    variant: dict[str, Any] = {
        "VariantName": file.variant,
        **_instance_types(instance),
        "InitialInstanceCount": instance.count,
        **serving,
        "EnableSSMAccess": instance.ssm_access,
        "RoutingConfig": _routing(file),
    }
    ami = instance.ami or (ami_for(file.image.cuda) if num_gpus(instance.type) != 0 else None)
    optional = {
        "InferenceAmiVersion": ami,
        "VolumeSizeInGB": instance.volume_gb,
        "VariantInstanceProvisionTimeoutInSeconds": instance.provision_timeout_s,
        "CapacityReservationConfig": _reservation(instance),
    }
    return variant | {key: value for key, value in optional.items() if value is not None}


def _instance_types(instance: Instance) -> dict[str, Any]:
    if not instance.fallbacks:
        return {"InstanceType": instance.type}
    types = (instance.type, *instance.fallbacks)
    return {"InstancePools": [{"InstanceType": name, "Priority": number} for number, name in enumerate(types, 1)]}


def _reservation(instance: Instance) -> dict[str, str] | None:
    if instance.reservation is None:
        return None
    preference = "capacity-reservations-only"
    return {"CapacityReservationPreference": preference, "MlReservationArn": instance.reservation}


def _asynchronous(file: EndpointFile, wanted: Asynchronous) -> dict[str, Any]:
    output = {"S3OutputPath": wanted.output}
    if wanted.failures:
        output["S3FailurePath"] = wanted.failures
    if file.encryption.storage_key:
        output["KmsKeyId"] = file.encryption.storage_key
    return {"OutputConfig": output, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": wanted.concurrent_requests}}


def _routing(file: EndpointFile) -> dict[str, Any]:
    routing: dict[str, Any] = {"RoutingStrategy": file.routing.strategy}
    if file.routing.strategy == "PREFIX_AWARE":
        routing["PrefixAwareRoutingConfig"] = {"PrefixLength": file.routing.prefix_bytes}
        if file.routing.prefix_concurrency:
            routing["PrefixAwareRoutingConfig"]["ConcurrencyThreshold"] = file.routing.prefix_concurrency
    return routing


def _deployment(update: Update) -> dict[str, Any]:
    if update.traffic == "rolling":
        return rolling(update)
    traffic: dict[str, Any] = {"Type": update.traffic.upper(), "WaitIntervalInSeconds": update.wait_s}
    step = {"Type": "CAPACITY_PERCENT", "Value": update.step_percent}
    if update.traffic == "canary":
        traffic["CanarySize"] = step
    if update.traffic == "linear":
        traffic["LinearStepSize"] = step
    policy: dict[str, Any] = {
        "TrafficRoutingConfiguration": traffic,
        "TerminationWaitInSeconds": update.termination_wait_s,
    }
    return _with_alarms(update, {"BlueGreenUpdatePolicy": _limited(update, policy)})


def rolling(update: Update) -> dict[str, Any]:
    """The DeploymentConfig of an update batch by batch, of instances or of an inference component's copies."""
    batch = {"Type": "CAPACITY_PERCENT", "Value": update.step_percent}
    policy = {"MaximumBatchSize": batch, "WaitIntervalInSeconds": update.wait_s}
    return _with_alarms(update, {"RollingUpdatePolicy": _limited(update, policy)})


def _limited(update: Update, policy: dict[str, Any]) -> dict[str, Any]:
    return {**policy, "MaximumExecutionTimeoutInSeconds": update.limit_s} if update.limit_s else policy


def _with_alarms(update: Update, deployment: dict[str, Any]) -> dict[str, Any]:
    if not update.rollback_alarms:
        return deployment
    alarms = [{"AlarmName": name} for name in update.rollback_alarms]
    return {**deployment, "AutoRollbackConfiguration": {"Alarms": alarms}}


def _named(endpoint: str, parameters: dict[str, Any]) -> str:
    content = json.dumps(parameters, sort_keys=True, separators=(",", ":")).encode()
    return f"{endpoint}-{hashlib.sha256(content).hexdigest()[:HASH_DIGITS]}"
