"""The endpoint and what it needs as Terraform's JSON, made of the same requests that `prepare` and `create` send.

Attribute names are those of the hashicorp/aws provider: the API's own in snake case, but for the few in `_RENAMED`.
"""

from __future__ import annotations

import re
from typing import Any

from deploy.account import policies
from deploy.account.account import SAGEMAKER, role_name
from deploy.endpoint import autoscaling, requests
from deploy.endpoint.plan import EndpointPlan
from deploy.specification.endpoint_file import EndpointFile
from deploy.specification.names import tags
from deploy.storage.artifact_sizes import buckets

PROVIDER = {"source": "hashicorp/aws", "version": ">= 6.0"}
_RENAMED = {
    "ModelName": "name",
    "EndpointConfigName": "name",
    "EndpointName": "name",
    "KmsKeyId": "kms_key_arn",
    "AdditionalModelDataSources": "additional_model_data_source",
    "EnableSSMAccess": "enable_ssm_access",
}
_LEFT_OUT = ("MetricsConfig", "Tags", "RetainAllVariantProperties")  # the first has no attribute in the provider

# A model and a configuration are named after their content: a new one is made before the old one goes.
_REPLACED_FIRST = {"lifecycle": {"create_before_destroy": True}}


def configuration(file: EndpointFile, plan: EndpointPlan) -> dict[str, Any]:
    """main.tf.json: bucket, roles and policies, model, configuration, endpoint, autoscaling."""
    roles = {"endpoint": _role(file, file.role)}
    if file.index_job:
        roles["index_job"] = _role(file, file.index_job.role)
    resources: dict[str, Any] = {
        "aws_s3_bucket": {_name(bucket): {"bucket": bucket, "tags": _tags(file)} for bucket in buckets(file)},
        "aws_iam_role": roles,
        "aws_iam_role_policy": {
            **_policies("endpoint", policies.endpoint_policies(file)),
            **_policies("index_job", policies.index_policies(file), before="index_job_"),
        },
        "aws_sagemaker_model": {"chat": _model(file, plan)},
        "aws_sagemaker_endpoint_configuration": {"chat": _config(file, plan)},
        "aws_sagemaker_endpoint": {"chat": _endpoint(file)},
        **_scaling(file),
    }
    return {
        "terraform": {"required_providers": {"aws": PROVIDER}},
        "provider": {"aws": {"region": file.region, "allowed_account_ids": [file.account]}},
        "resource": resources,
    }


def _role(file: EndpointFile, arn: str) -> dict[str, Any]:
    trust = policies.trust(file, SAGEMAKER)
    return {"name": role_name(arn), "assume_role_policy": trust, "tags": _tags(file)}


def _policies(role: str, documents: dict[str, str], before: str = "") -> dict[str, Any]:
    """What a role may do, named so that two roles may have a policy of the same name."""
    return {
        before + _name(name): {"name": name, "role": f"${{aws_iam_role.{role}.id}}", "policy": document}
        for name, document in documents.items()
    }


def _model(file: EndpointFile, plan: EndpointPlan) -> dict[str, Any]:
    model = _attributes(plan.model.parameters)
    return {**model, "execution_role_arn": "${aws_iam_role.endpoint.arn}", "tags": _tags(file), **_REPLACED_FIRST}


def _config(file: EndpointFile, plan: EndpointPlan) -> dict[str, Any]:
    config = _attributes(plan.config.parameters)
    for variant in config["production_variants"]:
        variant["model_name"] = "${aws_sagemaker_model.chat.name}"
        variant.pop("name")
    return {**config, "tags": _tags(file), **_REPLACED_FIRST}


def _endpoint(file: EndpointFile) -> dict[str, Any]:
    update = requests.update_endpoint(file, "chat").parameters
    config = "${aws_sagemaker_endpoint_configuration.chat.name}"
    deployment = _attributes(update["DeploymentConfig"])
    return {
        "name": file.name,
        "endpoint_config_name": config,
        "deployment_config": deployment,
        "depends_on": ["aws_iam_role_policy." + _name(name) for name in policies.endpoint_policies(file)],
        "tags": _tags(file),
    }


def _scaling(file: EndpointFile) -> dict[str, Any]:
    if file.autoscaling is None:
        return {}
    target = _attributes(autoscaling.register(file, file.autoscaling).parameters)
    policy = _attributes(autoscaling.put_policy(file, file.autoscaling).parameters)
    after = {"depends_on": ["aws_sagemaker_endpoint.chat"]}
    policy["name"] = policy.pop("policy_name")
    return {
        "aws_appautoscaling_target": {"chat": {**target, **after}},
        "aws_appautoscaling_policy": {"chat": {**policy, "depends_on": ["aws_appautoscaling_target.chat"]}},
    }


def _attributes(parameters: Any) -> Any:
    """Parameters of the API as attributes: names in snake case; environments keep theirs."""
    if isinstance(parameters, list):
        return [_attributes(each) for each in parameters]
    if not isinstance(parameters, dict):
        return parameters
    kept = {name: value for name, value in parameters.items() if name not in _LEFT_OUT}
    return {
        _RENAMED.get(name, _snake(name)): value if name == "Environment" else _attributes(value)
        for name, value in kept.items()
    }


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _name(text: str) -> str:
    return re.sub(r"\W", "_", text)


def _tags(file: EndpointFile) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags(file)}
