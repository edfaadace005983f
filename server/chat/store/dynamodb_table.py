"""The DynamoDB table: made when absent, checked when present, with expiry switched on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from server.chat.store.retry import Retrying, error_code
from server.config import ConfigError
from server.errors import ServiceError

log = logging.getLogger(__name__)

TTL_ATTRIBUTE = "expires_at"
_KEYS = {"HASH": ("session_id", "S"), "RANGE": ("turn", "N")}
_POLL_S = 0.2


class DynamoTable:
    """One table by name, through boto3's `client`."""

    def __init__(self, client: Any, name: str, retrying: Retrying, *, active_timeout_s: float = 120.0) -> None:
        self._client = client
        self._name = name
        self._retrying = retrying
        self._active_timeout_s = active_timeout_s

    def check(self) -> None:
        """Create the table if absent, wait until it is active, verify its keys, and switch expiry on.

        Raises:
            ConfigError: AWS cannot be reached or forbids it, or the table has another schema; it is then left alone.
        """
        try:
            description = self._describe() or self._create()
            self._check_keys(description)
            self._wait_until_active(description)
            self._enable_expiry()
        except (ClientError, ServiceError) as error:
            raise ConfigError(f"OCK_STORE=dynamodb://{self._name}: {error.__cause__ or error}") from error

    def _describe(self) -> dict[str, Any] | None:
        try:
            answer = self._retrying.call(lambda: self._client.describe_table(TableName=self._name))
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return dict(answer["Table"])

    def _create(self) -> dict[str, Any]:
        try:
            answer = self._retrying.call(
                lambda: self._client.create_table(
                    TableName=self._name,
                    BillingMode="PAY_PER_REQUEST",
                    AttributeDefinitions=[
                        {"AttributeName": "session_id", "AttributeType": "S"},
                        {"AttributeName": "turn", "AttributeType": "N"},
                    ],
                    KeySchema=[
                        {"AttributeName": "session_id", "KeyType": "HASH"},
                        {"AttributeName": "turn", "KeyType": "RANGE"},
                    ],
                )
            )
        except ClientError as error:
            if error_code(error) != "ResourceInUseException":  # another instance was faster
                raise
            return self._await_description()
        log.info("store.table_created table=%s", self._name)
        return dict(answer["TableDescription"])

    def _await_description(self) -> dict[str, Any]:
        """What the table that another instance just made is; it can be unknown for a while after it is in use."""
        deadline = time.monotonic() + self._active_timeout_s
        while (description := self._describe()) is None:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"OCK_STORE=dynamodb://{self._name}: the table is in use but not found after "
                    f"{self._active_timeout_s:.0f} s"
                )
            time.sleep(_POLL_S)
        return description

    def _check_keys(self, description: dict[str, Any]) -> None:
        types = {entry["AttributeName"]: entry["AttributeType"] for entry in description["AttributeDefinitions"]}
        found = {
            key["KeyType"]: (key["AttributeName"], types[key["AttributeName"]]) for key in description["KeySchema"]
        }
        if found != _KEYS:
            raise ConfigError(
                f"OCK_STORE=dynamodb://{self._name}: the table's key is {_said(found)}; a conversation table's key is "
                f"{_said(_KEYS)}. Name another table: this one is left as it is"
            )

    def _wait_until_active(self, description: dict[str, Any]) -> None:
        deadline = time.monotonic() + self._active_timeout_s
        while description.get("TableStatus") not in {"ACTIVE", "UPDATING"}:
            if time.monotonic() > deadline:
                raise ConfigError(
                    f"OCK_STORE=dynamodb://{self._name}: the table is {description.get('TableStatus')} after "
                    f"{self._active_timeout_s:.0f} s; it must be ACTIVE"
                )
            time.sleep(_POLL_S)
            description = self._describe() or {}

    def _enable_expiry(self) -> None:
        try:
            attribute = self._expiry_attribute()
            if attribute is None:
                self._retrying.call(self._request_expiry())
            elif attribute != TTL_ATTRIBUTE:
                raise ConfigError(
                    f"OCK_STORE=dynamodb://{self._name}: its time-to-live attribute is {attribute!r}; "
                    f"legal is {TTL_ATTRIBUTE!r}, or none"
                )
        except ClientError as error:
            self._excuse(error)

    def _expiry_attribute(self) -> str | None:
        answer = self._retrying.call(lambda: self._client.describe_time_to_live(TableName=self._name))
        attribute: str | None = answer["TimeToLiveDescription"].get("AttributeName")
        return attribute

    def _request_expiry(self) -> Callable[[], object]:
        return lambda: self._client.update_time_to_live(
            TableName=self._name, TimeToLiveSpecification={"Enabled": True, "AttributeName": TTL_ATTRIBUTE}
        )

    def _excuse(self, error: ClientError) -> None:
        """Let pass what does no harm: an endpoint without expiry, and another instance that was faster."""
        if error_code(error) == "UnknownOperationException":
            log.warning("store.no_expiry table=%s: the endpoint has no time to live; old rows stay, unseen", self._name)
        elif not (error_code(error) == "ValidationException" and "already enabled" in str(error)):
            raise error


def _said(keys: dict[str, tuple[str, str]]) -> str:
    return " and ".join(f"{name} ({kind}, {role.lower()})" for role, (name, kind) in keys.items())
