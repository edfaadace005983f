"""The DynamoDB table and what happens when AWS misbehaves, over HTTP with a proxy in between."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from server.chat.records.turn_records import Session
from server.chat.store.dynamodb_table import DynamoTable
from server.chat.store.from_url import open_store
from server.chat.store.retry import Retrying
from server.chat.store.store import Store
from server.config import ConfigError
from server.errors import ErrorCode, ServiceError
from tests import ROOT
from tests.aws.faulty_proxy import Fault, FaultyProxy
from tests.aws.store_places import DYNAMO_KINDS, ManualClock, a_turn, fresh_id

POLICY = ROOT / "deploy" / "account" / "iam" / "dynamodb.json"


@pytest.fixture(params=DYNAMO_KINDS)
def proxy(
    request: pytest.FixtureRequest, aws_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(request.getfixturevalue(f"{request.param}_url"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def table() -> str:
    return f"table-{fresh_id()}"


@pytest.fixture
def store(proxy: FaultyProxy, table: str, clock: ManualClock) -> Iterator[Store]:
    store = open_table(table, clock)
    proxy.operations.clear()
    yield store
    store.close()


def open_table(table: str, clock: ManualClock) -> Store:
    return open_store(f"dynamodb://{table}", clock=clock, session_ttl_s=1000, session_lock_s=60)


def dynamodb() -> Any:
    return boto3.client("dynamodb")


def test_the_table_is_made_pay_per_request_and_found_again(proxy: FaultyProxy, table: str, clock: ManualClock) -> None:
    open_table(table, clock)
    open_table(table, clock)
    made = dynamodb().describe_table(TableName=table)["Table"]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert made["TableStatus"] == "ACTIVE"
    assert proxy.operations.count("CreateTable") == 1


def test_expiry_is_switched_on_and_where_the_server_has_none_a_warning_says_so(
    proxy: FaultyProxy, table: str, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        open_table(table, clock)
    expiry = dynamodb().describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    enabled = expiry["TimeToLiveStatus"] == "ENABLED" and expiry["AttributeName"] == "expires_at"
    assert enabled != ("store.no_expiry" in caplog.text)


def test_fronts_that_start_together_share_one_table(proxy: FaultyProxy, table: str, clock: ManualClock) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            open_table(table, clock)
        except BaseException as error:  # noqa: BLE001 - the edge of a thread; the test reports it
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []


def test_a_table_of_another_schema_stops_the_start_and_is_left_alone(
    proxy: FaultyProxy, table: str, clock: ManualClock
) -> None:
    client = dynamodb()
    client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "session_id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "session_id", "KeyType": "HASH"}],
    )
    client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    client.put_item(TableName=table, Item={"session_id": {"S": "old"}, "content": {"S": "<human>: hi"}})
    proxy.operations.clear()
    with pytest.raises(ConfigError, match=r"key is session_id \(S, hash\); .*turn \(N, range\)"):
        open_table(table, clock)
    assert set(proxy.operations) == {"DescribeTable"}


class LateTable:
    """A client for a table that another instance has just made: in use at once, described a little later."""

    def __init__(self, num_unknown: int, key: str = "turn") -> None:
        self._num_unknown = num_unknown
        self._key = key
        self.operations: list[str] = []

    def describe_table(self, **_: object) -> dict[str, Any]:
        self.operations.append("DescribeTable")
        if self._num_unknown > 0:
            self._num_unknown -= 1
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "DescribeTable")
        names = {"session_id": "S", self._key: "N"}
        return {
            "Table": {
                "TableStatus": "ACTIVE",
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": t} for n, t in names.items()],
                "KeySchema": [
                    {"AttributeName": name, "KeyType": kind}
                    for name, kind in zip(names, ("HASH", "RANGE"), strict=True)
                ],
            }
        }

    def create_table(self, **_: object) -> dict[str, Any]:
        self.operations.append("CreateTable")
        raise ClientError({"Error": {"Code": "ResourceInUseException"}}, "CreateTable")

    def describe_time_to_live(self, **_: object) -> dict[str, Any]:
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}}


def test_a_table_that_another_instance_made_is_waited_for_until_it_is_described() -> None:
    client = LateTable(num_unknown=4)
    DynamoTable(client, "t", Retrying()).check()
    assert client.operations == ["DescribeTable", "CreateTable", *["DescribeTable"] * 4]


def test_a_table_that_another_instance_made_has_its_keys_checked_all_the_same() -> None:
    with pytest.raises(ConfigError, match=r"key is .*number \(N, range\)"):
        DynamoTable(LateTable(num_unknown=3, key="number"), "t", Retrying()).check()


def test_a_table_that_is_never_described_stops_the_start_with_one_sentence() -> None:
    table = DynamoTable(LateTable(num_unknown=10**6), "t", Retrying(), active_timeout_s=0.5)
    with pytest.raises(ConfigError, match="OCK_STORE=dynamodb://t: the table is in use but not found"):
        table.check()


FOREIGN = {
    "another program's": {"content": {"S": "<human>: hi"}},
    "of another state": {
        "turn_state": {"S": "paused"}, "session_created_at": {"N": "1"}, "claim_token": {"S": "t"},
        "claim_owner": {"S": "o"}, "lock_until": {"N": "0"}, "record": {"S": "{}"},
    },
    "without a record": {
        "turn_state": {"S": "done"}, "session_created_at": {"N": "1"}, "claim_token": {"S": "t"},
        "claim_owner": {"S": "o"}, "lock_until": {"N": "0"}, "record": {"N": "1"},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_an_item_that_cannot_be_read_is_an_outage_of_its_session_alone(
    proxy: FaultyProxy, store: Store, table: str, kind: str
) -> None:
    session_id = fresh_id()
    key = {"session_id": {"S": session_id}, "turn": {"N": "1"}}
    dynamodb().put_item(TableName=table, Item=key | FOREIGN[kind])
    for read in (lambda: store.load(session_id, 50), lambda: list(store.history(session_id))):
        with pytest.raises(ServiceError) as caught:
            read()
        assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    store.complete(store.claim(Session(fresh_id(), 1.0), "front"), a_turn(1))
    assert store.delete(session_id) is True
    assert store.load(session_id, 50) is None


def test_an_endpoint_that_nobody_listens_on_stops_the_start_with_one_sentence(
    proxy: FaultyProxy, table: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match=f"OCK_STORE=dynamodb://{table}: Could not connect"):
        open_table(table, clock)


def test_missing_rights_stop_the_start_with_one_sentence(proxy: FaultyProxy, table: str, clock: ManualClock) -> None:
    proxy.spoil("DescribeTable", Fault.DENIED)
    with pytest.raises(ConfigError, match=f"OCK_STORE=dynamodb://{table}: .*AccessDenied"):
        open_table(table, clock)


def test_a_region_that_is_not_set_stops_the_start_with_one_sentence(
    aws_credentials: None, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match=r"OCK_STORE=dynamodb://t: .*region"):
        open_table("t", clock)


def test_a_turn_takes_one_read_and_two_conditional_writes(proxy: FaultyProxy, store: Store) -> None:
    session = Session(fresh_id(), 1.0)
    for number in (1, 2, 3):
        store.complete(store.claim(store.load(session.session_id, 50) or session, "front"), a_turn(number))
    assert proxy.operations == ["Query", "PutItem", "PutItem"] * 3


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.BROKEN, Fault.REFUSED, Fault.LOST])
def test_a_passing_fault_is_ridden_out_and_the_turn_is_stored_once(
    proxy: FaultyProxy, store: Store, fault: Fault
) -> None:
    session = Session(fresh_id(), 1.0)
    proxy.spoil("PutItem", fault, fault)
    claim = store.claim(session, "front")
    proxy.spoil("PutItem", fault, fault)
    store.complete(claim, a_turn(1))
    proxy.spoil("Query", fault, fault)
    assert store.load(session.session_id, 50) == Session(session.session_id, 1.0, (a_turn(1),), last=1)


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.REFUSED])
def test_an_outage_ends_in_store_unavailable_with_nothing_lost(proxy: FaultyProxy, store: Store, fault: Fault) -> None:
    session = Session(fresh_id(), 1.0)
    claim = store.claim(session, "front")
    store.complete(claim, a_turn(1))
    loaded = store.load(session.session_id, 50)
    assert loaded is not None
    claim = store.claim(loaded, "front")
    proxy.spoil("PutItem", *[fault] * 50)
    proxy.operations.clear()
    with pytest.raises(ServiceError) as caught:
        store.complete(claim, a_turn(2))
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert caught.value.retry_after_s
    assert proxy.operations == ["PutItem"] * 5
    proxy.faults.clear()
    assert store.load(session.session_id, 50) == loaded
    store.complete(store.claim(loaded, "front"), a_turn(2))
    assert [turn.turn for turn in store.history(session.session_id)] == [1, 2]


def test_missing_rights_in_service_are_an_outage_at_once(proxy: FaultyProxy, store: Store) -> None:
    proxy.spoil("Query", Fault.DENIED, Fault.DENIED)
    with pytest.raises(ServiceError, match="refused query: AccessDenied") as caught:
        store.load(fresh_id(), 50)
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE
    assert proxy.operations == ["Query"]


def test_a_release_during_an_outage_does_not_fail(proxy: FaultyProxy, store: Store) -> None:
    session = Session(fresh_id(), 1.0)
    claim = store.claim(session, "front")
    proxy.spoil("DeleteItem", *[Fault.REFUSED] * 50)
    store.release(claim)
    store.complete(store.claim(session, "front"), a_turn(1))


def test_the_policy_allows_what_the_store_asks_for_and_no_more(
    proxy: FaultyProxy, table: str, clock: ManualClock
) -> None:
    store = open_table(table, clock)
    session = Session(fresh_id(), 1.0)
    store.release(store.claim(session, "front"))
    store.complete(store.claim(session, "front"), a_turn(1))
    with pytest.raises(ServiceError):
        store.claim(session, "front")
    store.delete(session.session_id)
    statements = json.loads(POLICY.read_text("utf-8"))["Statement"]
    allowed = {action.removeprefix("dynamodb:") for each in statements for action in each["Action"]}
    assert set(proxy.operations) == allowed
    assert {each["Resource"] for each in statements} == {"arn:aws:dynamodb:${REGION}:${ACCOUNT}:table/${TABLE}"}
