"""Autoscaling of an endpoint's variant, or of its inference component's copies: set, taken away, given back.

The metric counts requests in flight per model every 10 seconds, those waiting in the container's queue included, and
a stream until its last token: it rises before anything is refused, as long as the queue is longer than the target.
"""

from __future__ import annotations

from typing import Any

from deploy.aws.api import Answer, Aws, Call, Say
from deploy.specification.endpoint_file import Autoscaling, EndpointFile
from deploy.specification.names import component_name

SERVICE = "application-autoscaling"
METRIC = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
COMPONENT_METRIC = "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"


class Autoscaler:
    """The autoscaling of the endpoint that `file` describes."""

    def __init__(self, aws: Aws, file: EndpointFile, say: Say) -> None:
        self._aws = aws
        self._file = file
        self._say = say

    def scale(self) -> None:
        """Sets autoscaling to what the file says; without [autoscaling] an existing one is taken away."""
        scaling = self._file.autoscaling
        if scaling is None:
            self.unscale()
            return
        self._aws.send(register(self._file, scaling))
        self._aws.send(put_policy(self._file, scaling))
        self._say(f"autoscaling {scaling.min} to {scaling.max}, {scaling.concurrent_requests:g} requests a model")

    def unscale(self) -> list[Call]:
        """Takes autoscaling away, if there is any; the requests that give it back. The instances stay as they are."""
        targets = self._aws.pages(describe(self._file), "ScalableTargets")
        if not targets:
            return []
        policies = self._aws.pages(describe_policies(self._file), "ScalingPolicies")
        self._aws.send(deregister(self._file))
        self._say(f"took autoscaling of {self._file.name} away")
        return again(self._file, targets, policies)

    def give_back(self, calls: list[Call]) -> None:
        """Sends what `unscale` returned."""
        for call in calls:
            self._aws.send(call)
        self._say(f"gave autoscaling of {self._file.name} back")


def register(file: EndpointFile, scaling: Autoscaling) -> Call:
    """RegisterScalableTarget; a repeated one changes the bounds, which is why it carries no tags."""
    bounds = {"MinCapacity": scaling.min, "MaxCapacity": scaling.max}
    return Call(SERVICE, "RegisterScalableTarget", _target(file) | bounds)


def put_policy(file: EndpointFile, scaling: Autoscaling) -> Call:
    """PutScalingPolicy; a repeated one changes the target."""
    tracking = {
        "TargetValue": scaling.concurrent_requests,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": COMPONENT_METRIC if file.inference_component else METRIC
        },
        "ScaleInCooldown": scaling.scale_in_cooldown_s,
        "ScaleOutCooldown": scaling.scale_out_cooldown_s,
    }
    parameters = _target(file) | {
        "PolicyName": policy_name(file),
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": tracking,
    }
    return Call(SERVICE, "PutScalingPolicy", parameters)


def describe(file: EndpointFile) -> Call:
    """DescribeScalableTargets for this variant or component alone."""
    parameters = {
        "ServiceNamespace": "sagemaker",
        "ResourceIds": [_target(file)["ResourceId"]],
        "ScalableDimension": _target(file)["ScalableDimension"],
    }
    return Call(SERVICE, "DescribeScalableTargets", parameters)


def describe_policies(file: EndpointFile) -> Call:
    """DescribeScalingPolicies of this variant."""
    return Call(SERVICE, "DescribeScalingPolicies", _target(file))


def deregister(file: EndpointFile) -> Call:
    """DeregisterScalableTarget, which takes the policy and its alarms along."""
    return Call(SERVICE, "DeregisterScalableTarget", _target(file))


def again(file: EndpointFile, targets: list[Answer], policies: list[Answer]) -> list[Call]:
    """The requests that make the described targets and target-tracking policies anew, bounds and goals as they were."""
    kept = ("PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration")
    bounds = [{key: target[key] for key in ("MinCapacity", "MaxCapacity")} for target in targets]
    goals = [{key: policy[key] for key in kept} for policy in policies if kept[-1] in policy]
    return [Call(SERVICE, "RegisterScalableTarget", _target(file) | each) for each in bounds] + [
        Call(SERVICE, "PutScalingPolicy", _target(file) | each) for each in goals
    ]


def policy_name(file: EndpointFile) -> str:
    """The scaling policy's name."""
    return f"{file.name}-concurrent-requests"


def _target(file: EndpointFile) -> dict[str, Any]:
    if file.inference_component:
        return {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"inference-component/{component_name(file)}",
            "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
        }
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{file.name}/variant/{file.variant}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
