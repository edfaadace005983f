"""The collaborators of one front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.chat.moderation.moderator import Moderator
from server.chat.moderation.policy import Policy
from server.chat.store.store import Store
from server.chat.store.watch import StoreWatch
from server.chat.turn import TurnService
from server.chat.turn_gate import TurnGate
from server.config import Settings
from server.engine.engine import Engine
from server.engine.signs_of_life import SignsOfLife
from server.retrieval.retriever import Retriever


@dataclass(frozen=True)
class Services:
    """Everything the front works with. What is not watched is taken to be well.

    `policy` and `moderator` are None when moderation is off, `retriever` when there is no index.
    """

    settings: Settings
    engine: Engine
    turns: TurnService
    store: Store
    policy: Policy | None = None
    moderator: Moderator | None = None
    retriever: Retriever | None = None
    gate: TurnGate | None = None
    store_watch: StoreWatch | None = None
    signs_of_life: Sequence[SignsOfLife] = ()  # of each group

    @property
    def max_context_tokens(self) -> int | None:
        """The chat model's window; None before the group's welcome."""
        welcome = self.engine.welcome
        return None if welcome is None else welcome.models["chat"].max_context_tokens

    def close(self) -> None:
        """Let go of the socket and the files."""
        self.engine.close()
        self.store.close()
        if self.retriever is not None:
            self.retriever.close()
