"""What moto's SageMaker lacks: UpdateEndpoint, today's instance types, and endpoints that take time and can fail."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import botocore.session
import pytest
from moto.core.responses import ActionResult
from moto.moto_api._internal import mock_random  # noqa: F401 - imported first, moto's modules depend on the order
from moto.sagemaker import models
from moto.sagemaker.responses import SageMakerResponse
from moto.servicequotas.responses import ServiceQuotasResponse

from tests.aws.deploy import component_gaps

LOOKS_BEFORE_SETTLING = 2


@dataclass
class Fleet:
    """Decides how the next endpoints settle: None is InService, a text is the reason of a failure."""

    outcomes: deque[str | None] = field(default_factory=deque)
    quotas: dict[str, float] = field(default_factory=dict)
    refusals: deque[str] = field(default_factory=deque)  # what the next CreateModel requests are refused with
    moving: dict[str, tuple[int, Callable[[], None]]] = field(default_factory=dict)
    components: component_gaps.Components = field(default_factory=component_gaps.Components)

    def next_outcome(self) -> str | None:
        return self.outcomes.popleft() if self.outcomes else None

    def look(self, name: str) -> None:
        """One DescribeEndpoint: after some of them a change is finished."""
        if name not in self.moving:
            return
        left, settle = self.moving.pop(name)
        if left == 0:
            settle()
        else:
            self.moving[name] = (left - 1, settle)


def fill(patch: pytest.MonkeyPatch, fleet: Fleet) -> None:
    """Adds what is missing to moto, for as long as `patch` lasts."""
    backend = models.SageMakerModelBackend
    create, describe, delete = backend.create_endpoint, backend.describe_endpoint, backend.delete_endpoint

    def create_endpoint(self: Any, **given: Any) -> Any:
        name = given["endpoint_name"]
        if name in self.endpoints:
            raise models.ValidationError(message=f"Cannot create already existing endpoint {name}")
        endpoint = create(self, **given)
        endpoint.endpoint_status = "Creating"
        endpoint.data_capture_config = endpoint.data_capture_config or None  # an empty one is none of AWS's answers
        reason = fleet.next_outcome()
        fleet.moving[name] = (LOOKS_BEFORE_SETTLING, lambda: _settle_create(endpoint, reason))
        return endpoint

    def describe_endpoint(self: Any, endpoint_name: str) -> Any:
        fleet.look(endpoint_name)
        return describe(self, endpoint_name)

    def delete_endpoint(self: Any, endpoint_name: str) -> None:
        if endpoint_name not in self.endpoints:
            delete(self, endpoint_name)
        if self.endpoints[endpoint_name].endpoint_status in ("Creating", "Updating"):
            raise models.ValidationError(message="Cannot update in-progress endpoint")
        self.endpoints[endpoint_name].endpoint_status = "Deleting"
        fleet.moving[endpoint_name] = (1, lambda: delete(self, endpoint_name))

    patch.setattr(backend, "create_endpoint", create_endpoint)
    patch.setattr(backend, "create_model", _create_model(fleet, backend.create_model))
    patch.setattr(ServiceQuotasResponse, "list_service_quotas", _list_service_quotas(fleet), raising=False)
    patch.setattr(backend, "describe_endpoint", describe_endpoint)
    patch.setattr(backend, "delete_endpoint", delete_endpoint)
    patch.setattr(models.FakeEndpointConfig, "validate_instance_type", _check_instance_type)
    patch.setattr(SageMakerResponse, "update_endpoint", _update_endpoint(fleet), raising=False)
    component_gaps.fill(patch, fleet.components)


def _create_model(fleet: Fleet, create: Callable[..., Any]) -> Callable[..., Any]:
    def create_model(self: Any, **given: Any) -> Any:
        if fleet.refusals:
            raise models.ValidationError(message=fleet.refusals.popleft())
        return create(self, **given)

    return create_model


def _list_service_quotas(fleet: Fleet) -> Callable[[Any], str]:
    def list_service_quotas(self: Any) -> str:
        quotas = [
            {"ServiceCode": "sagemaker", "QuotaName": name, "Value": value} for name, value in fleet.quotas.items()
        ]
        return json.dumps({"Quotas": quotas})

    return list_service_quotas


def _settle_create(endpoint: Any, reason: str | None) -> None:
    endpoint.endpoint_status = "Failed" if reason else "InService"
    endpoint.failure_reason = reason


def _update_endpoint(fleet: Fleet) -> Callable[[Any], ActionResult]:
    def update_endpoint(self: Any) -> ActionResult:
        backend = self.sagemaker_backend
        endpoint = backend.endpoints[self._get_param("EndpointName")]
        config = backend.endpoint_configs[self._get_param("EndpointConfigName")]
        if endpoint.endpoint_status != "InService":
            raise models.ValidationError(message="Cannot update in-progress endpoint")
        endpoint.endpoint_status = "Updating"
        reason = fleet.next_outcome()

        def settle() -> None:
            endpoint.endpoint_status, endpoint.failure_reason = "InService", reason
            if reason is None:
                endpoint.endpoint_config_name = config.endpoint_config_name

        fleet.moving[endpoint.endpoint_name] = (LOOKS_BEFORE_SETTLING, settle)
        return ActionResult({"EndpointArn": endpoint.arn})

    return update_endpoint


def _check_instance_type(_: Any, instance_type: str) -> None:
    model = botocore.session.get_session().get_service_model("sagemaker")
    if instance_type not in model.shape_for("ProductionVariantInstanceType").enum:
        raise models.ValidationError(message=f"{instance_type} is not an instance type")
