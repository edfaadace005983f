"""A model that says a blocked sentence, over the real turn and moderation: no route lets a word of it out."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from flask.testing import FlaskClient
from msgspec.structs import replace

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Policy, Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.services import Services
from server.chat.store.from_url import open_store
from server.chat.store.store import Store
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.errors import ErrorCode, ServiceError
from server.web.app import create_app
from tests import ROOT
from tests.unit.chat.moderation.moderation_doubles import Bytes, scored
from tests.unit.web.fakes import FakeEngine, Fakes

DEMO = ROOT / "container" / "demo" / "chat"
NUM_SENTENCES = 5
SECRET = "zyxgrub"
BLOCKED = f"Then {SECRET} everybody by the {SECRET} until it is done. "
OVERRIDE = "Unfortunately I am unable to provide any information about this topic"


class Speaker(FakeEngine):
    """Says harmless sentences with the blocked one among them, three characters at a time; scores by keyword."""

    def __init__(self, place: int, policy: Policy) -> None:
        super().__init__()
        sentences = [f"Sentence {number} is harmless. " for number in range(NUM_SENTENCES)]
        sentences[place] = BLOCKED
        self.spoken = "".join(sentences)
        self._labels = policy.labels
        self.cancelled: list[str] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        threading.Thread(target=self._say, args=(request, deliver), daemon=True).start()

    def _say(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        for number, start in enumerate(range(0, len(self.spoken), 3), 1):
            deliver(wire.Piece(request.request_id, self.spoken[start : start + 3], number))
            time.sleep(0.0002)
        deliver(wire.Finished(request.request_id, "stop", len(request.prompt), 0, number))

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def score(self, requests: list[wire.Score]) -> list[wire.Scored]:
        return [self._score(request) for request in requests]

    def _score(self, request: wire.Score) -> wire.Scored:
        bad = SECRET in bytes(request.text).decode()
        return scored(request, self._labels, "needs intervention" if bad else "casual")


@pytest.fixture(params=range(NUM_SENTENCES))
def place(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def engine(place: int) -> Speaker:
    return Speaker(place, load_policy())


@pytest.fixture
def store() -> Store:
    return open_store("memory://", clock=time.time, session_ttl_s=3600, session_lock_s=60)


@pytest.fixture
def client(engine: Speaker, store: Store) -> Iterator[FlaskClient]:
    with front(engine, store) as client:
        yield client


@contextmanager
def front(engine: Speaker, store: Store) -> Iterator[FlaskClient]:
    policy = load_policy()
    classifier = Classifier.of(wire.INPUT_MODERATION, Bytes(), policy)
    moderator = Moderator(engine, policy, {Role.INPUT: classifier, Role.OUTPUT: classifier})
    prompts = PromptBuilder(ChatTokenizer.from_folder(DEMO), 512, 256)
    with ThreadPoolExecutor(16) as executor:
        turns = TurnService(Collaborators(engine, prompts, store, executor, moderator), TurnSettings("demo", "front"))
        services = Services(Fakes().settings, engine, turns, store, policy, moderator)
        yield create_app(services).test_client()


def lost() -> wire.Scored:
    raise ServiceError(ErrorCode.ENGINE_UNAVAILABLE, "the group is lost", retry_after_s=1.0)


FAULTS: dict[str, Callable[[wire.Scored], wire.Scored]] = {
    "not a number": lambda good: replace(
        good, log_probs=tuple(tuple(tuple(math.nan for _ in c) for c in w) for w in good.log_probs)
    ),
    "infinite": lambda good: replace(
        good, log_probs=tuple(tuple(tuple(math.inf for _ in c) for c in w) for w in good.log_probs)
    ),
    "too few": lambda good: replace(good, log_probs=good.log_probs[:-1]),
    "too few labels": lambda good: replace(good, log_probs=tuple(w[:-1] for w in good.log_probs)),
    "too few tokens": lambda good: replace(good, log_probs=tuple(tuple(c[:-1] for c in w) for w in good.log_probs)),
    "none": lambda good: lost(),
}
ROUTES: dict[str, tuple[str, dict[str, object]]] = {
    "invocations": ("/invocations", {"inputs": "Tell me"}),
    "a list of invocations": ("/invocations", {"inputs": ["Tell me", "Tell me more"]}),
    "streamed invocations": ("/invocations", {"inputs": "Tell me", "stream": True}),
    "chat completions": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Tell me"}]}),
    "streamed chat completions": (
        "/v1/chat/completions", {"messages": [{"role": "user", "content": "Tell me"}], "stream": True},
    ),
    "completions": ("/v1/completions", {"model": "", "prompt": "Tell me"}),
    "streamed completions": ("/v1/completions", {"model": "", "prompt": "Tell me", "stream": True}),
    "messages to invocations": ("/invocations", {"messages": [{"role": "user", "content": "Tell me"}]}),
    "responses": ("/v1/responses", {"input": "Tell me"}),
    "streamed responses": ("/v1/responses", {"input": "Tell me", "stream": True}),
    "moderations": ("/v1/moderations", {"input": "Tell me"}),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("fault", "first"), [*((fault, 0) for fault in FAULTS), ("not a number", 2), ("too few", 2), ("none", 2)]
)
def test_no_unjudged_text_leaves_on_any_route_when_verdicts_are_faulty(
    store: Store, fault: str, route: str, first: int
) -> None:
    """The verdicts are right until the one of number `first`."""

    class Faulty(Speaker):
        num_scored = 0

        def _score(self, request: wire.Score) -> wire.Scored:
            good = super()._score(request)
            self.num_scored += 1
            return good if self.num_scored <= first else FAULTS[fault](good)

    speaker = Faulty(0, load_policy())
    speaker.spoken = "".join(f"Word{number} is said here. " for number in range(8))
    address, body = ROUTES[route]
    with front(speaker, store) as client:
        response = client.post(address, json=body)
        text = response.text
    if first == 0:
        assert "is said" not in text
        assert response.status_code == 503 or "engine_unavailable" in text
    elif "stream" in route:
        assert sum(f"Word{number} " in text for number in range(8)) <= first - 1


def harmless_before(place: int) -> str:
    return "".join(f"Sentence {number} is harmless. " for number in range(place)).strip()


def said(lines: list[str]) -> str:
    """The text of a stream's pieces, of /invocations or of chat completions."""
    found = []
    for line in lines:
        message = json.loads(line)
        if isinstance(message.get("outputs"), list):
            found += message["outputs"]
        found += [choice.get("delta", {}).get("content") or "" for choice in message.get("choices", [])]
    return "".join(found)


def test_invocations_answers_with_the_override_alone(client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": "Tell me"})
    assert SECRET not in response.text
    assert response.json["outputs"] == OVERRIDE
    assert response.json["finish_reason"] == "moderated_output"
    assert response.json["moderation"]["output"]["blocked"] is True


def test_each_input_of_a_list_is_answered_with_the_override(client: FlaskClient) -> None:
    response = client.post("/invocations", json={"inputs": ["Tell me", "Tell me more", "And more"]})
    assert SECRET not in response.text
    assert [record["outputs"] for record in response.json] == [OVERRIDE] * 3


@pytest.mark.parametrize("accept", ["application/jsonlines", "text/event-stream"])
def test_a_stream_has_what_stood_before_and_the_override(client: FlaskClient, place: int, accept: str) -> None:
    body = {"inputs": "Tell me", "stream": True}
    text = client.post("/invocations", json=body, headers={"Accept": accept}).text
    assert SECRET not in text
    lines = [line.removeprefix("data: ") for line in text.splitlines()]
    lines = [line for line in lines if line.startswith("{")]
    assert said(lines).replace(OVERRIDE, "").strip() in harmless_before(place)
    assert said(lines).endswith(OVERRIDE)
    assert json.loads(lines[-1])["finish_reason"] == "moderated_output"


def test_chat_completions_end_with_content_filter(client: FlaskClient) -> None:
    body = {"model": "", "messages": [{"role": "user", "content": "Tell me"}]}
    response = client.post("/v1/chat/completions", json=body)
    assert SECRET not in response.text
    assert response.json["choices"][0]["finish_reason"] == "content_filter"


def test_a_stream_of_chat_completions_ends_with_content_filter(client: FlaskClient, place: int) -> None:
    body = {"model": "", "messages": [{"role": "user", "content": "Tell me"}], "stream": True}
    text = client.post("/v1/chat/completions", json=body).text
    assert SECRET not in text
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    assert said(lines).replace(OVERRIDE, "").strip() in harmless_before(place)
    assert json.loads(lines[-1])["choices"][0]["finish_reason"] == "content_filter"


def test_the_history_has_the_override_on_both_of_its_routes(client: FlaskClient) -> None:
    session_id = client.post("/invocations", json={"inputs": "Tell me"}).json["session_id"]
    for response in (
        client.get(f"/sessions/{session_id}"),
        client.post("/invocations", json={"action": "history", "session_id": session_id}),
    ):
        assert SECRET not in response.text
        [turn] = response.json["turns"]
        assert (turn["reply"], turn["finish_reason"]) == (OVERRIDE, "moderated_output")


def test_a_cancelled_stream_lets_nothing_out_and_keeps_nothing(
    client: FlaskClient, engine: Speaker, store: Store, place: int
) -> None:
    body = {"inputs": "Tell me", "stream": True, "parameters": {"session_id": "cancelled-session-0001"}}
    response = client.post("/invocations", json=body, buffered=False)
    chunks = response.response
    got = next(iter(chunks))
    response.close()
    text = got.decode() if isinstance(got, bytes) else got
    assert SECRET not in text
    assert engine.cancelled
    session = store.load("cancelled-session-0001", 10)
    assert session is None or all(SECRET not in turn.reply for turn in session.turns)
