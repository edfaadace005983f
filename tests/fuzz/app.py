"""The real front with its real turns, over an engine that answers at once with what fits the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from server import wire
from server.chat.moderation.classifier import Classifier
from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Role
from server.chat.moderation.policy_file import load_policy
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.services import Services
from server.chat.store.from_url import open_store
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.config import Settings
from server.web.app import create_app
from tests import ROOT
from tests.unit.chat.moderation.moderation_doubles import Bytes, scored
from tests.unit.web.fakes import FakeEngine, FakeRetriever

_CHAT_MODEL = ROOT / "container" / "demo" / "chat"
_BAD = b"kill"


class AtOnce(FakeEngine):
    """Says a sentence, and judges by one word."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        super().__init__()
        self._labels = labels

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        wire.decode_to_engine(wire.encode(request))  # what cannot be sent is a fault of the front
        deliver(wire.Piece(request.request_id, "It is so. ", 3))
        deliver(wire.Finished(request.request_id, "stop", len(request.prompt), 0, 3))

    def score(self, requests: Sequence[wire.Score]) -> list[wire.Scored]:
        for request in requests:
            wire.decode_to_engine(wire.encode(request))
        bad = [_BAD in bytes(request.text) for request in requests]
        return [
            scored(request, self._labels, "needs intervention" if is_bad else "casual")
            for request, is_bad in zip(requests, bad, strict=True)
        ]

    def cancel(self, request_id: str) -> None:
        pass


def make_app() -> Flask:
    """One front with conversations in memory."""
    policy = load_policy()
    engine, executor = AtOnce(policy.labels), ThreadPoolExecutor(8)
    classifier = Classifier.of(wire.INPUT_MODERATION, Bytes(), policy)
    moderator = Moderator(engine, policy, {Role.INPUT: classifier, Role.OUTPUT: classifier})
    store = open_store("memory://", clock=time.time, session_ttl_s=3600, session_lock_s=600)
    prompts = PromptBuilder(ChatTokenizer.from_folder(_CHAT_MODEL), 512, 128)
    retriever = FakeRetriever()
    turns = TurnService(
        Collaborators(engine, prompts, store, executor, moderator, retriever),
        TurnSettings("fuzzed", "front"),
    )
    return create_app(Services(Settings(session_wait_s=0), engine, turns, store, policy, moderator, retriever))
