"""Small stand-ins for the front's collaborators: they keep the contracts of `chat.services` and do nothing else."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from server import wire
from server.chat.moderation.policy import Policy, Role
from server.chat.moderation.policy_file import load_policy
from server.chat.records.turn_records import (
    Feedback,
    Judgement,
    Session,
    Source,
    TextPiece,
    Turn,
    TurnEvent,
    TurnRequest,
    TurnResult,
    Usage,
)
from server.chat.services import Services
from server.config import Settings
from server.errors import ServiceError
from server.retrieval.query import Query
from server.retrieval.retriever import Passage, RetrievalError

OVERRIDE = "Unfortunately I am unable to provide any information about this topic"
LINCOLN = Passage(
    passage_id="307:0",
    document_id="307",
    title="Abraham Lincoln",
    section="",
    text="Abraham Lincoln was the 16th president of the United States. <script>alert(1)</script>",
    score=0.875,
    url="https://en.wikipedia.org/wiki/Abraham_Lincoln",
)

Step = TurnEvent | ServiceError | Exception | Callable[[TurnRequest], TurnEvent | None]
"""What a scripted turn does next: say an event, fail, or call something, which may wait, and say what that gives."""


class FakeEngine:
    """The cached state of a group that nobody runs."""

    def __init__(self) -> None:
        self.ready = True
        self.status_age_s = 0.2
        self.welcome: wire.Welcome | None = wire.Welcome(
            models={"chat": wire.ModelShape(2048, 4096, "/models/chat")}, world=2, dtype="bfloat16", max_queue=128
        )
        self.status: wire.Status | None = wire.Status(
            num_running=3,
            num_waiting=1,
            num_waiting_tokens=17,
            steps=40,
            free_blocks={"chat": 90},
            total_blocks={"chat": 100},
            preemptions=2,
            generated_tokens=500,
            prefilled_tokens=600,
            cached_tokens=70,
            step_seconds=0.01,
        )

    @property
    def groups(self) -> tuple[FakeEngine, ...]:
        return (self,)


class FakeStore:
    """Conversations in a dict."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[Turn]] = {}
        self.turns_read = 0  # by `history`

    def of(self, owner: str) -> FakeStore:
        assert owner == "", "the tests of keys have a real store"
        return self

    def load(self, session_id: str, max_turns: int, behind: int | None = None) -> Session | None:
        turns = self.sessions.get(session_id)
        if turns is None:
            return None
        there = behind is None or any(turn.turn == behind for turn in turns)
        path = [turn for turn in turns if there and (behind is None or turn.turn <= behind)]
        return Session(session_id, 0.0, tuple(path[-max_turns:]), last=turns[-1].turn if turns else 0)

    def create(self, session_id: str) -> Session:
        self.sessions[session_id] = []
        return Session(session_id, 0.0)

    def history(self, session_id: str, after: int = 0) -> Iterator[Turn]:
        for turn in self.sessions.get(session_id, [])[after:]:
            self.turns_read += 1
            yield turn

    def turn(self, session_id: str, turn: int) -> Turn | None:
        return next((each for each in self.sessions.get(session_id, []) if each.turn == turn), None)

    def delete_turn(self, session_id: str, turn: int) -> bool:
        turns = self.sessions.get(session_id, [])
        kept = [each for each in turns if each.turn != turn]
        self.sessions |= {session_id: kept} if session_id in self.sessions else {}
        return len(kept) < len(turns)

    def give_feedback(self, session_id: str, turn: int, feedback: Feedback) -> bool:
        return any(each.turn == turn for each in self.sessions.get(session_id, []))

    def delete(self, session_id: str) -> bool:
        return self.sessions.pop(session_id, None) is not None


def judgement(blocked: bool = False) -> Judgement:
    """A verdict over the two labels that matter here."""
    label = "needs intervention" if blocked else "casual"
    scores = {"casual": 0.1, "needs intervention": 0.9} if blocked else {"casual": 0.9, "needs intervention": 0.1}
    log_probs = dict.fromkeys(scores, -1.5)
    return Judgement(label, scores, log_probs, blocked, OVERRIDE if blocked else "")


def result(request: TurnRequest, outputs: str, reason: str = "stop", *, turn: int = 1) -> TurnResult:
    """The end of a turn that went well."""
    sources = ()
    if request.retrieval and "Lincoln" in request.text:
        sources = (Source(LINCOLN.title, LINCOLN.text, LINCOLN.score, LINCOLN.document_id, url=LINCOLN.url),)
    moderation = {"input": judgement(reason == "moderated_input")}
    if reason != "moderated_input":
        moderation["output"] = judgement(reason == "moderated_output")
    return TurnResult(
        request_id=request.request_id,
        outputs=outputs,
        session_id=request.session_id or "session-made-by-the-turn",
        finish_reason=reason,
        sources=sources,
        moderation=moderation,
        usage=Usage(prompt_tokens=20, cached_tokens=16, completion_tokens=len(outputs.split())),
        turn=turn,
    )


class FakeTurns:
    """Replies "You said: ..." in pieces of one word and remembers it, or does what the question's script says."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store
        self.scripts: dict[str, Sequence[Step]] = {}
        self.refusals: dict[str, ServiceError] = {}  # of questions that are refused before anything is done
        self.requests: list[TurnRequest] = []
        self.ending = threading.Event()
        self.cancelled = threading.Event()
        self.cancelled_names: list[str] = []

    def check(self, request: TurnRequest) -> None:
        if (refusal := self.refusals.get(request.text)) is not None:
            raise refusal

    def cancel(self, session_id: str | None = None, request_id: str | None = None, *, owner: str = "") -> int:
        self.cancelled_names.append(session_id or request_id or "")
        return 1

    def answer(self, request: TurnRequest, has_left: Callable[[], bool] = lambda: False) -> TurnResult:
        *_, last = self.stream(request)
        assert isinstance(last, TurnResult)
        return last

    def stream(self, request: TurnRequest) -> Iterator[TurnEvent]:
        self.check(request)
        self.requests.append(request)
        try:
            for step in self.script(request):
                if isinstance(step, Exception):
                    raise step
                event = step(request) if callable(step) else step
                if event is not None:
                    yield event
        except GeneratorExit:
            self.cancelled.set()
            raise

    def end_all(self) -> None:
        self.ending.set()

    def script(self, request: TurnRequest) -> Iterable[Step]:
        """How the turn goes."""
        return self.scripts.get(request.text) or self._echo(request)

    def _echo(self, request: TurnRequest) -> Iterator[TurnEvent]:
        reply = f"You said: {request.text}"
        words = reply.split(" ")
        for word, is_last in zip(words, itertools.chain([False] * (len(words) - 1), [True]), strict=True):
            yield TextPiece(word if is_last else f"{word} ")
        yield self._remember(request, result(request, reply))

    def _remember(self, request: TurnRequest, ended: TurnResult) -> TurnResult:
        if request.history is not None:
            return ended
        turns = self._store.sessions.setdefault(ended.session_id, [])
        if request.replaces is not None:
            del turns[request.replaces - 1 :]
        turns.append(
            Turn(len(turns) + 1, request.text, ended.outputs, ended.finish_reason, 1.0, ended.sources,
                 {role: each.label for role, each in ended.moderation.items()})
        )  # fmt: skip
        return result(request, ended.outputs, turn=len(turns))


class FakeModerator:
    """Blocks what says "kill"."""

    policy = load_policy()

    def __init__(self) -> None:
        self.roles: list[Role] = []
        self.noted: list[tuple[str, Role, bool, str]] = []

    def note(self, request_id: str, role: Role, verdict: Judgement, text: str) -> None:
        self.noted.append((request_id, role, verdict.blocked, text))

    def judge(
        self, texts: Sequence[str], role: Role, deadline_s: float | None = None, *, caller: str = ""
    ) -> list[Judgement]:
        self.roles.append(role)
        return [judgement("kill" in text) for text in texts]


class FakeEmbedder:
    """Vectors of three numbers, the first of which is the text's length."""

    encoder_name = "mini"
    dimension = 3

    def embed(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        return np.array([[len(text), 0.0, 1.0] for text in texts], dtype=np.float32), sum(map(len, texts))


class FakeRetriever:
    """Finds Lincoln, whatever is asked."""

    version = "wikipedia 1 0a1b2c3d"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int, float]] = []
        self.broken = False
        self.found = [LINCOLN]
        self.embedder = FakeEmbedder()

    def search(self, query: Query) -> list[Passage]:
        self.asked.append((query.text, query.k, query.window, query.threshold))
        if self.broken:
            raise RetrievalError("the index is gone")
        return self.found

    def info(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        pass


@dataclass
class Fakes:
    """One set of stand-ins and the services made of them."""

    settings: Settings = field(default_factory=lambda: Settings(max_body_bytes=64 * 1024, threads=12))
    engine: FakeEngine = field(default_factory=FakeEngine)
    store: FakeStore = field(default_factory=FakeStore)
    moderator: FakeModerator | None = field(default_factory=FakeModerator)
    retriever: FakeRetriever | None = field(default_factory=FakeRetriever)
    policy: Policy | None = field(default_factory=load_policy)

    def __post_init__(self) -> None:
        self.turns: FakeTurns = FakeTurns(self.store)

    @property
    def services(self) -> Services:
        return Services(
            settings=self.settings,
            engine=self.engine,
            turns=self.turns,
            store=self.store,
            policy=self.policy,
            moderator=self.moderator,
            retriever=self.retriever,
        )
