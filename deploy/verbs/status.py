"""Show what the endpoint is doing: status, fleet, component, configuration, image, autoscaling, and why it failed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from deploy import cli
from deploy.aws.api import Aws, Call
from deploy.endpoint import autoscaling, requests
from deploy.endpoint.failure import log_tail
from deploy.endpoint.remembered import Remembered
from deploy.specification import names
from deploy.specification.endpoint_file import EndpointFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `status`."""
    cli.add_file(parser)
    cli.add_dry_run(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")


def run(arguments: argparse.Namespace) -> int:
    """Prints the status; 0 when the endpoint is in service, 1 otherwise."""
    file = cli.load(arguments)
    aws = cli.connect(arguments, file)
    found = look(aws, file)
    if not aws.dry:
        print(json.dumps(found, indent=2, default=str) if arguments.json else "\n".join(_text(found)))
    return 0 if aws.dry or _serves(found) else 1


def _serves(found: dict[str, Any]) -> bool:
    component = found.get("component")
    return found["status"] == "InService" and (component is None or component["status"] == "InService")


def look(aws: Aws, file: EndpointFile) -> dict[str, Any]:
    """What there is of the endpoint, by plain names."""
    config_name = f"{file.name}-{'0' * 12}"
    assumed = {"EndpointStatus": "InService", "EndpointConfigName": config_name}
    endpoint = aws.find(requests.describe_endpoint(file.name), assumed)
    if endpoint is None:
        return {"endpoint": file.name, "status": "absent"}
    assumed_variants = {"ProductionVariants": [{"ModelName": config_name}]}
    config = aws.find(requests.describe_config(endpoint["EndpointConfigName"]), assumed_variants)
    component = _component(aws, file)
    found = {
        "endpoint": file.name,
        "status": endpoint["EndpointStatus"],
        "config": endpoint["EndpointConfigName"],
        "previous_config": Remembered(aws, names.endpoint_arn(file), names.PREVIOUS_TAG).value(),
        "variants": _variants(endpoint, config or {}),
        "component": component,
        "image": _image(aws, _model(component, config or {})),
        "autoscaling": _scaling(aws, file),
        "changed": endpoint.get("LastModifiedTime"),
    }
    if endpoint["EndpointStatus"] == "Failed" or endpoint.get("FailureReason"):
        found |= {"reason": endpoint.get("FailureReason"), "log": log_tail(aws, file.name)}
    return found


def _variants(endpoint: dict[str, Any], config: dict[str, Any]) -> list[dict[str, Any]]:
    types = {
        variant.get("VariantName"): variant.get("InstanceType") for variant in config.get("ProductionVariants", [])
    }
    return [
        {
            "name": variant["VariantName"],
            "instance_type": types.get(variant["VariantName"]),
            "instances": variant.get("CurrentInstanceCount"),
            "wanted": variant.get("DesiredInstanceCount"),
            "doing": [status["Status"] for status in variant.get("VariantStatus", [])],
        }
        for variant in endpoint.get("ProductionVariants", [])
    ]


def _component(aws: Aws, file: EndpointFile) -> dict[str, Any] | None:
    if file.inference_component is None:
        return None
    assumed = {"InferenceComponentStatus": "InService", "Specification": {"ModelName": f"{file.name}-{'0' * 12}"}}
    found = aws.find(requests.describe_component(file), assumed) or {}
    copies = found.get("RuntimeConfig", {})
    return {
        "name": names.component_name(file),
        "status": found.get("InferenceComponentStatus", "absent"),
        "copies": copies.get("CurrentCopyCount"),
        "wanted": copies.get("DesiredCopyCount"),
        "model": found.get("Specification", {}).get("ModelName"),
        "reason": found.get("FailureReason"),
    }


def _model(component: dict[str, Any] | None, config: dict[str, Any]) -> str | None:
    """What serves: the component's model, or the first variant's."""
    if component is not None:
        return component["model"]
    variants = config.get("ProductionVariants", [])
    return variants[0].get("ModelName") if variants else None


def _image(aws: Aws, model: str | None) -> str | None:
    if model is None:
        return None
    found = aws.find(Call("sagemaker", "DescribeModel", {"ModelName": model}))
    return (found or {}).get("PrimaryContainer", {}).get("Image")


def _scaling(aws: Aws, file: EndpointFile) -> str | None:
    targets = aws.pages(autoscaling.describe(file), "ScalableTargets")
    what = "copies" if file.inference_component else "instances"
    return f"{targets[0]['MinCapacity']} to {targets[0]['MaxCapacity']} {what}" if targets else None


def _text(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['endpoint']}: {found['status']}"]
    for variant in found.get("variants", []):
        doing = f" ({', '.join(variant['doing'])})" if variant["doing"] else ""
        lines.append(
            f"  {variant['name']}: {variant['instances']} of {variant['wanted']} x {variant['instance_type']}{doing}"
        )
    if component := found.get("component"):
        lines.append(
            f"  {component['name']}: {component['status']}, {component['copies']} of {component['wanted']} copies"
        )
        if component["reason"]:
            lines.append(f"    {component['reason']}")
    for key in ("image", "config", "previous_config", "autoscaling", "changed", "reason"):
        if found.get(key):
            lines.append(f"  {key.replace('_', ' ')}: {found[key]}")
    return lines + [f"  | {line}" for line in found.get("log", [])]
