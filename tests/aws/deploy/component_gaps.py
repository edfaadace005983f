"""Inference components, which moto lacks: they take time to settle and can fail, and an endpoint with some stays."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest
from moto.applicationautoscaling import models as scaling
from moto.applicationautoscaling import responses as scaling_responses
from moto.core.responses import ActionResult
from moto.sagemaker import models
from moto.sagemaker.responses import SageMakerResponse

LOOKS_BEFORE_SETTLING = 2


@dataclass
class Components:
    """The account's components, and how their next changes settle: None is well, a text is the reason of a failure."""

    outcomes: deque[str | None] = field(default_factory=deque)
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    tags: dict[str, SimpleNamespace] = field(default_factory=dict)
    moving: dict[str, tuple[int, Callable[[], None]]] = field(default_factory=dict)

    def clear(self) -> None:
        for each in (self.outcomes, self.known, self.tags, self.moving):
            each.clear()

    def found(self, name: str) -> dict[str, Any]:
        if name not in self.known:
            raise models.ValidationError(message=f"Could not find inference component {name}")
        return self.known[name]

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["InferenceComponentName"]
        arn = f"arn:aws:sagemaker:eu-west-1:123456789012:inference-component/{name}"
        made = copy.deepcopy({key: value for key, value in asked.items() if key != "Tags"})
        copies = made["RuntimeConfig"]["CopyCount"]
        made["RuntimeConfig"] = {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
        made |= {"InferenceComponentArn": arn, "EndpointArn": "arn:of-the-endpoint"}
        self.known[name], self.tags[name] = made, SimpleNamespace(tags=list(asked.get("Tags", [])))
        reason = self.outcomes.popleft() if self.outcomes else None
        self._settle_as(name, "Creating", lambda: self._created(made, reason))
        return {"InferenceComponentArn": arn}

    def update(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["InferenceComponentName"]
        found = self.found(name)
        reason = self.outcomes.popleft() if self.outcomes else None
        self._settle_as(name, "Updating", lambda: self._updated(found, asked, reason))
        return {"InferenceComponentArn": found["InferenceComponentArn"]}

    def describe(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["InferenceComponentName"]
        left, settle = self.moving.pop(name, (0, None))
        if settle is not None and left == 0:
            settle()
        elif settle is not None:
            self.moving[name] = (left - 1, settle)
        times = {"CreationTime": 0, "LastModifiedTime": 0}
        return {**self.found(name), **times}

    def delete(self, asked: dict[str, Any]) -> dict[str, Any]:
        name = asked["InferenceComponentName"]
        self.found(name)
        self._settle_as(name, "Deleting", lambda: self.known.pop(name))
        return {}

    def _settle_as(self, name: str, status: str, settle: Callable[[], object]) -> None:
        self.known[name]["InferenceComponentStatus"] = status
        self.moving[name] = (LOOKS_BEFORE_SETTLING, lambda: (settle(), None)[1])

    def _created(self, made: dict[str, Any], reason: str | None) -> None:
        made["InferenceComponentStatus"] = "Failed" if reason else "InService"
        if reason:
            made["FailureReason"] = reason

    def _updated(self, found: dict[str, Any], asked: dict[str, Any], reason: str | None) -> None:
        found["InferenceComponentStatus"] = "InService"
        if reason:
            found["FailureReason"] = reason
            return
        found["Specification"] = copy.deepcopy(asked["Specification"])
        if "RuntimeConfig" in asked:
            copies = asked["RuntimeConfig"]["CopyCount"]
            found["RuntimeConfig"] = {"DesiredCopyCount": copies, "CurrentCopyCount": copies}


def fill(patch: pytest.MonkeyPatch, components: Components) -> None:
    """Adds inference components to moto, for as long as `patch` lasts."""
    backend = models.SageMakerModelBackend
    delete_endpoint, resource = backend.delete_endpoint, backend._get_resource_from_arn
    check_variants = backend.validate_production_variants

    def delete(self: Any, endpoint_name: str) -> None:
        if any(each["EndpointName"] == endpoint_name for each in components.known.values()):
            raise models.ValidationError(message="Cannot delete an endpoint with inference components")
        delete_endpoint(self, endpoint_name)

    def by_arn(self: Any, arn: str) -> Any:
        kind, _, name = arn.rpartition(":")[2].partition("/")
        return components.tags[name] if kind == "inference-component" else resource(self, arn)

    def check(self: Any, variants: list[dict[str, Any]]) -> None:
        check_variants(self, [variant for variant in variants if "ModelName" in variant])

    patch.setattr(backend, "validate_production_variants", check)
    patch.setattr(backend, "delete_endpoint", delete)
    patch.setattr(backend, "_get_resource_from_arn", by_arn)
    known = {each.name: each.value for each in scaling.ScalableDimensionValueSet}
    dimensions = Enum("Dimensions", {**known, "COPIES": "sagemaker:inference-component:DesiredCopyCount"})
    for module in (scaling, scaling_responses):
        patch.setattr(module, "ScalableDimensionValueSet", dimensions)
    for verb in ("create", "update", "describe", "delete"):
        answer = _answer(getattr(components, verb))
        patch.setattr(SageMakerResponse, f"{verb}_inference_component", answer, raising=False)


def _answer(act: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], ActionResult]:
    return lambda response: ActionResult(act(response._get_params()))
