"""A turn under way: what has been found out so far, and what it comes to."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from server.chat.moderation.policy import Role, RoleRule
from server.chat.prompt.prompt import Prompt
from server.chat.records.phases import PhaseClock
from server.chat.records.turn_records import Judgement, Session, Source, Turn, TurnRequest, TurnResult, Usage
from server.chat.reply.citations import Citer, with_marks
from server.chat.reply.stream import ReplyStream, ReplyVerdict
from server.chat.store.store import Claim
from server.errors import ErrorCode, ServiceError
from server.retrieval.retriever import Passage

T = TypeVar("T")

_LEAST_S = 0.1


def cancelled_error() -> ServiceError:
    """What a cancelled turn ends with."""
    return ServiceError(ErrorCode.CANCELLED, "the turn was cancelled; nothing of it is stored")


def settled(value: T) -> Future[T]:
    """What is there at once."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


@dataclass(eq=False)
class OpenTurn:
    """One question on its way. `session` is set once it is loaded, `claim` when the turn will be stored."""

    request: TurnRequest
    started: float = field(default_factory=time.monotonic)
    session: Session = field(init=False)
    claim: Claim | None = None
    moderation: dict[str, Judgement] = field(default_factory=dict)
    passages: list[Passage] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    preface: str = ""  # what the answer begins with where the question asks for care
    instructions: str = ""  # what the model is told then
    system: str = ""  # the instructions of the deployment and of the session
    follows: int | None = None  # the turn it goes on from, where it replaces the one behind that
    reply: ReplyStream | None = None
    clock: PhaseClock = field(default_factory=PhaseClock)
    silent_since: float = field(default_factory=time.monotonic)  # when the client last heard of it
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def session_id(self) -> str | None:
        """The session's id as far as it is known."""
        session = getattr(self, "session", None)
        return self.request.session_id if session is None else session.session_id

    def cancel(self) -> None:
        """Let the turn end at its next step; from any thread."""
        self._cancelled.set()
        if self.reply is not None:
            self.reply.cancel(cancelled_error())

    def go_on(self) -> None:
        """Raises ServiceError CANCELLED once the turn was cancelled."""
        if self._cancelled.is_set():
            raise cancelled_error()

    def replace(self, number: int) -> None:
        """Go on from before turn `number`, which with all behind it is left out from then on.

        Raises:
            ServiceError: INVALID_FIELD when the conversation has no such turn.
        """
        numbers = [turn.turn for turn in self.session.turns]
        if number not in numbers:
            legal = f"legal are {', '.join(map(str, numbers[-20:]))}" if numbers else "it has no turns yet"
            message = f"replace_turn={number}: the conversation has no such turn; {legal}"
            raise ServiceError(ErrorCode.INVALID_FIELD, message, field="parameters.replace_turn")
        kept = self.session.turns[: numbers.index(number)]
        last = max(self.session.last, numbers[-1])
        self.session = replace(self.session, turns=kept, last=last)
        self.follows = kept[-1].turn if kept else 0

    def go_on_behind(self, number: int) -> None:
        """Go on from turn `number`, to which the loaded session leads.

        Raises:
            ServiceError: SESSION_NOT_FOUND when it is not there any more.
        """
        if not self.session.turns:
            message = f"session {self.session.session_id!r} has no turn {number}, or it has expired"
            raise ServiceError(ErrorCode.SESSION_NOT_FOUND, message, field="session_id")
        self.follows = None if number == self.session.last else number

    def answered_before(self) -> TurnResult | None:
        """The stored answer to this very request, when a client asks again with the same idempotency key.

        Raises:
            ServiceError: INVALID_FIELD when the key stands for another question.
        """
        key = self.request.key
        found = next((turn for turn in reversed(self.session.turns) if key and turn.key == key), None)
        if found is None:
            return None
        if found.user != self.request.text:
            message = "Idempotency-Key: it was used for another question of this session; use a new one"
            raise ServiceError(ErrorCode.INVALID_FIELD, message, field="Idempotency-Key")
        return TurnResult(
            request_id=self.request.request_id,
            outputs=found.reply,
            session_id=self.session.session_id,
            finish_reason=found.finish_reason,
            sources=found.sources,
            moderation={role: Judgement(label, {}, {}, blocked=False) for role, label in found.labels.items()},
            usage=found.usage,
            turn=found.turn,
            citations=found.citations,
        )

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() - self.started > self.request.deadline_s

    @property
    def remaining_s(self) -> float:
        """What is left of the request's deadline, never quite nothing."""
        return max(_LEAST_S, self.request.deadline_s - (time.monotonic() - self.started))

    def take_care(self, rule: RoleRule) -> None:
        """Answer with the preface and the instructions of the policy."""
        self.preface = f"{rule.preface}\n\n" if rule.preface else ""
        self.instructions = rule.instructions
        self.warnings.append("the policy asks for care with this question")

    def withhold(self, numbers: Collection[int]) -> None:
        """Leave turns that the policy blocks out of the prompt, as a stored turn is that was moderated; say which."""
        if not numbers:
            return
        turns = (
            replace(turn, finish_reason="moderated_input") if turn.turn in numbers else turn
            for turn in self.session.turns
        )
        self.session = replace(self.session, turns=tuple(turns))
        named = ", ".join(map(str, sorted(numbers)))
        self.warnings.append(f"the policy blocks exchange {named} of the conversation; it was left out of the prompt")

    def finish(self, prompt: Prompt, verdict: ReplyVerdict) -> TurnResult:
        """The result of a reply that ended with `verdict`."""
        if verdict.judgement is not None:
            self.moderation[Role.OUTPUT.value] = verdict.judgement
        self.usage = Usage(
            prompt_tokens=verdict.finished.num_prompt_tokens,
            cached_tokens=min(verdict.finished.num_cached_tokens, self._own_tokens(prompt)),
            completion_tokens=verdict.finished.num_new_tokens,
            dropped_turns=prompt.num_dropped_turns,
            passage_tokens=prompt.num_passage_tokens,
        )
        if verdict.blocked is not None:
            return self.result(verdict.blocked.message, "moderated_output")
        result = self.result(self.preface + verdict.text, verdict.finished.reason)
        return msgspec.structs.replace(
            result, citations=self.citer().citations(result.outputs), logprobs=verdict.logprobs
        )

    def _own_tokens(self, prompt: Prompt) -> int:
        """Tokens that stood in an earlier prompt of this conversation. That more of a prompt is in the cache, as a
        question is that somebody else has asked, is nobody's to know.
        """
        new = prompt.num_question_tokens + prompt.num_passage_tokens
        return len(prompt.token_ids) - new if self.session.turns else 0

    def citer(self) -> Citer:
        """Finds which of the passages in the prompt a sentence rests on."""
        return Citer([passage.text for passage in self.passages])

    def shown(self, result: TurnResult) -> TurnResult:
        """The answer as the client gets it: with marks where it asked for them. What is stored has none."""
        if not self.request.cite:
            return result
        outputs, citations = with_marks(result.outputs, result.citations)
        return msgspec.structs.replace(result, outputs=outputs, citations=citations)

    def result(self, outputs: str, reason: str) -> TurnResult:
        """The answer as it stands."""
        return TurnResult(
            request_id=self.request.request_id,
            outputs=outputs,
            session_id=self.session.session_id,
            finish_reason=reason,
            sources=() if reason.startswith("moderated") else self.sources,
            moderation=self.moderation,
            usage=self.usage,
            warnings=tuple(self.warnings),
            turn=0 if self.claim is None else self.claim.turn,
        )

    def record(self, claim: Claim, result: TurnResult, now: float, versions: Mapping[str, str]) -> Turn:
        """What is stored of the turn; `versions` names the model and the index."""
        return Turn(
            turn=claim.turn,
            user=self.request.text,
            reply=result.outputs,
            finish_reason=result.finish_reason,
            created_at=now,
            sources=result.sources,
            labels={role: each.label for role, each in result.moderation.items()},
            usage=result.usage,
            citations=result.citations,
            model=versions["model"],
            index_version=versions["index_version"],
            follows=self.follows,
            system=self.request.system,
            key=self.request.key,
        )

    @property
    def sources(self) -> tuple[Source, ...]:
        """The passages that stood in the prompt."""
        return tuple(map(Source.of, self.passages))


class TurnsUnderWay:
    """The turns that are being answered, so that one can be cancelled from outside. Thread-safe."""

    def __init__(self) -> None:
        self._turns: set[OpenTurn] = set()
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, turn: OpenTurn) -> Iterator[None]:
        """Keep `turn` for as long as the block runs."""
        with self._lock:
            self._turns.add(turn)
        try:
            yield
        finally:
            with self._lock:
                self._turns.discard(turn)

    def of(self, session_id: str | None, request_id: str | None, owner: str) -> list[OpenTurn]:
        """An owner's turns of a session, or of an HTTP call, whose id is the beginning of its turns' ids."""
        with self._lock:
            turns = list(self._turns)
        return [
            turn
            for turn in turns
            if turn.request.owner == owner
            and (
                (session_id is not None and turn.session_id == session_id)
                or (request_id is not None and turn.request.request_id.startswith(f"{request_id}."))
            )
        ]
