"""Rows in one DynamoDB table, one item a turn; single-item conditional writes only, no transactions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from server.chat.store.dynamodb_table import DynamoTable
from server.chat.store.retry import PartlyDone, Retrying, error_code
from server.chat.store.rows import Row, RowState
from server.config import ConfigError
from server.errors import ErrorCode, ServiceError

log = logging.getLogger(__name__)

T = TypeVar("T")
_BATCH = 25  # requests that one BatchWriteItem takes
_FREE = "attribute_not_exists(session_id) OR expires_at <= :now OR (turn_state = :open AND lock_until <= :now)"
_OURS = "turn_state = :open AND claim_token = :token"
_DONE_OURS = "turn_state = :done AND claim_token = :token"
_DONE: dict[str, Any] = {"S": RowState.DONE.value}
_OPEN: dict[str, Any] = {"S": RowState.OPEN.value}


class DynamoRows:
    """`Rows` in the table `table`, through boto3's `client`, which must not retry by itself."""

    def __init__(self, client: Any, table: str, retrying: Retrying) -> None:
        self._client = client
        self._table = table
        self._retrying = retrying

    @classmethod
    def connect(cls, table: str, max_connections: int = 64) -> DynamoRows:
        """Rows in `table`; region, endpoint and credentials come from where boto3 looks for them.

        Raises:
            ConfigError: there is no region, or the configuration cannot be read.
        """
        config = Config(
            connect_timeout=2,
            read_timeout=3,
            retries={"mode": "standard", "total_max_attempts": 1},  # `Retrying` knows which writes may be repeated
            max_pool_connections=max_connections,
        )
        try:
            client = boto3.client("dynamodb", config=config)
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"OCK_STORE=dynamodb://{table}: {error}") from error
        return cls(client, table, Retrying())

    def check(self) -> None:
        """See `Rows.check`."""
        DynamoTable(self._client, self._table, self._retrying).check()

    def newest(self, session_id: str, limit: int, before: int | None = None) -> list[Row]:
        """See `Rows.newest`. One page: at most 1 MB of rows, however many are asked for."""
        options: dict[str, Any] = {"ScanIndexForward": False, "Limit": limit}
        if before is not None:
            options["ExclusiveStartKey"] = _key(session_id, before)
        return [_row(item) for item in next(self._pages(session_id, options))]

    def oldest_first(self, session_id: str, after: int = -1) -> Iterator[Row]:
        """See `Rows.oldest_first`."""
        for page in self._pages(session_id, {}, after):
            yield from map(_row, page)

    def get(self, session_id: str, turn: int) -> Row | None:
        """See `Rows.get`."""
        answer = self._call("get_item", Key=_key(session_id, turn), ConsistentRead=True)
        return _row(answer["Item"]) if "Item" in answer else None

    def put(self, row: Row) -> None:
        """See `Rows.put`."""
        self._call("put_item", Item=_item(row))

    def put_if_free(self, row: Row, now: float) -> bool:
        """See `Rows.put_if_free`."""
        values = {":now": _number(now), ":open": _OPEN}
        return self._call_if("put_item", Item=_item(row), ConditionExpression=_FREE, ExpressionAttributeValues=values)

    def replace_open(self, row: Row, token: str) -> bool:
        """See `Rows.replace_open`."""
        return self._call_if(
            "put_item", Item=_item(row), ConditionExpression=_OURS, ExpressionAttributeValues=_ours(token)
        )

    def replace_done(self, row: Row) -> bool:
        """See `Rows.replace_done`."""
        return self._call_if(
            "put_item", Item=_item(row), ConditionExpression=_DONE_OURS,
            ExpressionAttributeValues={":done": _DONE, ":token": {"S": row.token}},
        )  # fmt: skip

    def remove_done(self, session_id: str, turn: int) -> bool:
        """See `Rows.remove_done`."""
        return self._call_if(
            "delete_item", Key=_key(session_id, turn), ConditionExpression="turn_state = :done",
            ExpressionAttributeValues={":done": _DONE},
        )  # fmt: skip

    def remove_open(self, session_id: str, turn: int, token: str) -> bool:
        """See `Rows.remove_open`."""
        key = _key(session_id, turn)
        return self._call_if("delete_item", Key=key, ConditionExpression=_OURS, ExpressionAttributeValues=_ours(token))

    def remove_expired(self, session_id: str, now: float) -> None:
        """See `Rows.remove_expired`; DynamoDB does it by itself too, up to some days later."""
        for turn in self._turns(session_id):
            self._call_if(
                "delete_item",
                Key=_key(session_id, turn),
                ConditionExpression="expires_at <= :now",
                ExpressionAttributeValues={":now": _number(now)},
            )

    def remove_all(self, session_id: str) -> None:
        """See `Rows.remove_all`; looks again until nothing is left."""
        while turns := self._turns(session_id):
            for start in range(0, len(turns), _BATCH):
                self._remove([_key(session_id, turn) for turn in turns[start : start + _BATCH]])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _turns(self, session_id: str) -> list[int]:
        """The numbers of a session's rows."""
        pages = self._pages(session_id, {"ProjectionExpression": "turn"})
        return [int(item["turn"]["N"]) for page in pages for item in page]

    def _remove(self, keys: list[dict[str, Any]]) -> None:
        left: Any = [{"DeleteRequest": {"Key": key}} for key in keys]

        def request() -> None:
            nonlocal left
            answer = self._client.batch_write_item(RequestItems={self._table: left})
            left = answer.get("UnprocessedItems", {}).get(self._table, [])
            if left:
                raise PartlyDone(count=len(left))

        self._ask("batch_write_item", request)

    def _pages(self, session_id: str, options: dict[str, Any], after: int = -1) -> Iterator[list[dict[str, Any]]]:
        """A session's items above turn `after`, in as many strongly consistent reads as the caller takes pages."""
        start: dict[str, Any] = {}
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="session_id = :session AND turn > :after",
                ExpressionAttributeValues={":session": {"S": session_id}, ":after": {"N": str(after)}},
                ConsistentRead=True,
                **options,
                **start,
            )
            yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _call_if(self, operation: str, **arguments: Any) -> bool:
        """Whether the condition held; False also when an unanswered first attempt had already changed the row."""
        try:
            self._call(operation, **arguments)
        except _ConditionFailed:
            return False
        return True

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        request = getattr(self._client, operation)
        return self._ask(operation, lambda: dict(request(TableName=self._table, **arguments)))

    def _ask(self, operation: str, request: Callable[[], T]) -> T:
        try:
            return self._retrying.call(request)
        except ClientError as error:
            if error_code(error) == "ConditionalCheckFailedException":
                raise _ConditionFailed from error
            log.error("store.refused operation=%s error=%s", operation, error)
            raise ServiceError(
                ErrorCode.STORE_UNAVAILABLE, f"the conversation store refused {operation}: {error_code(error)}"
            ) from error


class _ConditionFailed(Exception):
    pass


def _key(session_id: str, turn: int) -> dict[str, Any]:
    return {"session_id": {"S": session_id}, "turn": {"N": str(turn)}}


def _ours(token: str) -> dict[str, Any]:
    return {":open": _OPEN, ":token": {"S": token}}


def _number(value: float) -> dict[str, str]:
    return {"N": repr(value)}


def _item(row: Row) -> dict[str, Any]:
    expires = {} if row.expires_at is None else {"expires_at": _number(row.expires_at)}
    return expires | {
        **_key(row.session_id, row.turn),
        "turn_state": {"S": row.state.value},
        "session_created_at": _number(row.session_created_at),
        "claim_token": {"S": row.token},
        "claim_owner": {"S": row.owner},
        "lock_until": _number(row.lock_until),
        "record": {"S": row.record},
    }


def _row(item: dict[str, Any]) -> Row:
    """The row of an item. Raises ServiceError for one that something else wrote."""
    try:
        return _read_row(item)
    except (KeyError, TypeError, ValueError) as error:
        log.error("store.unreadable_item turn=%s error=%r", item.get("turn"), error)
        raise ServiceError(
            ErrorCode.STORE_UNAVAILABLE, f"the conversation store holds an item that cannot be read: {error!r}"
        ) from error


def _read_row(item: dict[str, Any]) -> Row:
    return Row(
        session_id=item["session_id"]["S"],
        turn=int(item["turn"]["N"]),
        state=RowState(item["turn_state"]["S"]),
        session_created_at=float(item["session_created_at"]["N"]),
        token=item["claim_token"]["S"],
        owner=item["claim_owner"]["S"],
        lock_until=float(item["lock_until"]["N"]),
        expires_at=int(item["expires_at"]["N"]) if "expires_at" in item else None,
        record=item["record"]["S"],
    )
