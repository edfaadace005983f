"""Whatever the route: the texts that are prompted are those that were judged, letter by letter, of histories, too."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.records.turn_records import Judgement, Turn
from server.chat.services import Services
from server.chat.store.from_url import open_store
from server.chat.text.normal import normalise
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.config import Settings
from server.web.app import create_app
from tests import ROOT
from tests.unit.chat.moderation.moderation_doubles import Bytes, scored
from tests.unit.web.fakes import FakeEngine, Fakes

POLICY = load_policy()
TOKENIZER = ChatTokenizer.from_folder(ROOT / "container" / "demo" / "chat")
# Letters that are read, disguised, hidden or imitate the prompt's form.
TEXTS = st.text(
    st.sampled_from("ab k1!.:\n\t<>/humanbot\u200b\U000e0061\ufe0f\u0430\u1160é👍🏽\u202e&#;｜"), max_size=30
)


class Echo(FakeEngine):
    """Finds everything harmless and answers with one sentence; keeps the prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[tuple[int, ...]] = []

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        self.prompts.append(request.prompt)
        deliver(wire.Piece(request.request_id, "It is so.", 3))
        deliver(wire.Finished(request.request_id, "stop", len(request.prompt), 0, 3))

    def cancel(self, request_id: str) -> None:
        pass

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        return [scored(request, POLICY.labels, "casual") for request in requests]


class Recording(Moderator):
    """A moderator that keeps what it was asked."""

    def __init__(self, engine: Echo) -> None:
        self.classifiers = {Role.INPUT: Classifier.of(wire.INPUT_MODERATION, Bytes(), POLICY)}
        super().__init__(engine, POLICY, self.classifiers)
        self.asked: list[tuple[Role, str]] = []

    def judge(
        self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
    ) -> list[Judgement]:
        self.asked += [(role, text) for text in texts]
        return super().judge(texts, role, deadline_s, caller=caller)


class Bench:
    """The real front over both."""

    def __init__(self, executor: ThreadPoolExecutor, config: Settings | None = None) -> None:
        self.engine = Echo()
        self.moderator = Recording(self.engine)
        self.builder = PromptBuilder(TOKENIZER, 2048, 256)
        store = open_store("memory://", clock=time.time, session_ttl_s=3600, session_lock_s=60)
        parts = Collaborators(self.engine, self.builder, store, executor, self.moderator)
        turns = TurnService(parts, TurnSettings("demo", "front"))
        services = Services(config or Fakes().settings, self.engine, turns, store, POLICY, self.moderator)
        self.client: FlaskClient = create_app(services).test_client()

    def forget(self) -> None:
        """Verdicts are given anew."""
        self.moderator.asked.clear()
        self.moderator.adopt(replace(POLICY), self.moderator.classifiers)

    def conversation(self) -> str:
        """What the model is told, from the first question on."""
        return _from_first_question(self.engine.prompts[-1])

    def built_of(self, system: str, said: Sequence[str]) -> str:
        """The same, made of these texts, user's and bot's in turn."""
        turns = [Turn(n, *pair, "stop", 0.0) for n, pair in enumerate(zip(said[:-1:2], said[1::2], strict=True), 1)]
        return _from_first_question(self.builder.build(0.0, turns, (), said[-1], 256, system=system).token_ids)


def _from_first_question(tokens: Sequence[int]) -> str:
    text = TOKENIZER.decode(list(tokens))
    return text[text.index("<human>:") :]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ThreadPoolExecutor(4) as pool:
        yield Bench(pool)


def messages(system: str, said: Sequence[str]) -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(said)]
    return [{"role": "system", "content": system}, *turns]


ROUTES: dict[str, Callable[[str, Sequence[str]], tuple[str, dict[str, object]]]] = {
    "invocations": lambda _, said: ("/invocations", {"inputs": said[-1]}),
    "a list of invocations": lambda _, said: ("/invocations", {"inputs": [said[-1]]}),
    "messages to invocations": lambda system, said: ("/invocations", {"messages": messages(system, said)}),
    "chat completions": lambda system, said: ("/v1/chat/completions", {"messages": messages(system, said)}),
    "responses": lambda system, said: (
        "/v1/responses", {"instructions": system, "input": messages("be kind", said)[1:]},
    ),
}  # fmt: skip


@pytest.mark.timeout(120)  # megabytes take tenths of a second; what read them again and again would take hours
@pytest.mark.parametrize("unit", [" ", "\u0301", "\u0430", "\U000e0061", "\u200b", "\u2028", "!", "a ", "&amp;"])
def test_six_megabytes_of_one_sign_are_answered_on_every_route(unit: str) -> None:
    many = unit * (5_900_000 // len(unit.encode()))
    with ThreadPoolExecutor(2) as pool:
        client = Bench(pool, Settings()).client
        for route in ("invocations", "chat completions", "responses"):
            address, body = ROUTES[route]("be kind", [f"Hi{many}"])
            data = json.dumps(body, ensure_ascii=False).encode()
            assert client.post(address, data=data, content_type="application/json").status_code in (200, 400)
        data = json.dumps({"input": f"Hi{many}"}, ensure_ascii=False).encode()
        assert client.post("/v1/moderations", data=data, content_type="application/json").status_code in (200, 400)


@pytest.mark.parametrize("route", ROUTES)
@settings(deadline=None, max_examples=12)
@given(system=TEXTS, user=TEXTS, reply=TEXTS, question=TEXTS)
def test_what_is_judged_is_what_is_prompted_on_every_route(
    bench: Bench, route: str, system: str, user: str, reply: str, question: str
) -> None:
    # With a letter in each, none is blank: what is blank is refused, or left out of prompt and verdicts alike.
    said = [f"w {each}" for each in (user, reply, question)]
    bench.forget()
    address, body = ROUTES[route](f"w {system}", said)
    response = bench.client.post(address, json=body)
    assert response.status_code == 200, response.text
    if "invocations" in route and "messages" not in route:
        system, said = "", said[-1:]
    prompted = [normalise(each) for each in said]
    roles = (Role.INPUT, Role.OUTPUT, Role.INPUT)[-len(said) :]
    assert set(bench.moderator.asked) >= set(zip(roles, prompted, strict=True))
    assert not system or (Role.SYSTEM, normalise(f"w {system}")) in bench.moderator.asked
    assert bench.conversation() == bench.built_of(normalise(f"w {system}"), prompted)
