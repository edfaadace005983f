"""What the routes need of the rest of the server; the real parts and the test's stand-ins have these shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from server import wire
from server.chat.moderation.policy import Policy, Role
from server.chat.records.turn_records import Judgement, Session, Turn, TurnEvent, TurnRequest, TurnResult
from server.config import Settings
from server.retrieval.retriever import Retriever


class Turns(Protocol):
    """Answers questions; `server.chat.turn.TurnService`."""

    def check(self, request: TurnRequest) -> None:
        """Refuse what can be refused without a look at the conversation. Raises ServiceError."""
        ...

    def answer(self, request: TurnRequest) -> TurnResult:
        """The whole answer at once. Raises ServiceError."""
        ...

    def stream(self, request: TurnRequest) -> Iterator[TurnEvent]:
        """Moderated pieces and keep-alives, last exactly one result. Closing the iterator cancels the turn."""
        ...

    def end_all(self) -> None:
        """End the turns under way with what they have; their finish reason is "shutdown"."""
        ...


class Moderator(Protocol):
    """Judges texts; `server.chat.moderation.moderator.Moderator`."""

    def judge(self, texts: Sequence[str], role: Role, deadline_s: float | None = None) -> list[Judgement]:
        """One judgement a text, in order. Raises ServiceError."""
        ...


class Store(Protocol):
    """Conversations; `server.chat.store.store.Store`."""

    def load(self, session_id: str, max_turns: int) -> Session | None:
        """The session with its newest turns; None when unknown or expired."""
        ...

    def create(self, session_id: str) -> Session:
        """A session without turns that `load` finds."""
        ...

    def history(self, session_id: str, after: int = 0) -> Iterator[Turn]:
        """Every stored turn above number `after`, oldest first, read as it is asked for."""
        ...

    def delete(self, session_id: str) -> bool:
        """Erase the session; False when there was none."""
        ...


class Engine(Protocol):
    """The cached state of the engine group; `server.engine.client.EngineClient`. No property waits."""

    @property
    def ready(self) -> bool:
        """Whether the group serves and the connection stands."""
        ...

    @property
    def welcome(self) -> wire.Welcome | None:
        """What the group serves."""
        ...

    @property
    def status(self) -> wire.Status | None:
        """The group's last status."""
        ...

    @property
    def status_age_s(self) -> float:
        """Seconds since the last status."""
        ...


@dataclass(frozen=True)
class Services:
    """The collaborators of one front.

    `policy` and `moderator` are None when moderation is off, `retriever` when there is no index.
    """

    settings: Settings
    engine: Engine
    turns: Turns
    store: Store
    policy: Policy | None = None
    moderator: Moderator | None = None
    retriever: Retriever | None = None

    @property
    def max_context_tokens(self) -> int | None:
        """The chat model's window; None before the group's welcome."""
        welcome = self.engine.welcome
        return None if welcome is None else welcome.models["chat"].max_context_tokens
