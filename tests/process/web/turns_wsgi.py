"""The front with its real turns over a real store, for gunicorn; the engine is a stand-in that always says the same."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from server import wire
from server.chat.prompt.prompt import PromptBuilder
from server.chat.prompt.tokenizer import ChatTokenizer
from server.chat.services import Services
from server.chat.store.from_url import open_store
from server.chat.turn import Collaborators, TurnService, TurnSettings
from server.config import from_env
from server.web.app import create_app
from tests import ROOT
from tests.unit.web.fakes import FakeEngine

REPLY = "reply " * 50
_CHAT_MODEL = ROOT / "container" / "demo" / "chat"


class Repeater(FakeEngine):
    """Says `REPLY` to everything, at once."""

    def start(self, request: wire.Generate, deliver: Callable[[wire.FromEngine], None]) -> None:
        deliver(wire.Piece(request.request_id, REPLY, 50))
        deliver(wire.Finished(request.request_id, "stop", len(request.prompt), 0, 50))

    def cancel(self, request_id: str) -> None:
        pass


logging.basicConfig(level=logging.INFO)
_settings = from_env(os.environ)
_store = open_store(_settings.store, clock=time.time, session_ttl_s=86400, session_lock_s=600)
_prompts = PromptBuilder(ChatTokenizer.from_folder(_CHAT_MODEL), 2048, 256)
_engine = Repeater()
_turns = TurnService(
    Collaborators(_engine, _prompts, _store, ThreadPoolExecutor(16)), TurnSettings("repeater", "front")
)
app = create_app(Services(_settings, _engine, _turns, _store, None, None))
app.extensions["close"] = _store.close
