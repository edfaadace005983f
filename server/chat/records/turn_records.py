"""What a turn is made of, as it is stored and as it is answered."""

from __future__ import annotations

from typing import Literal

import msgspec

from server.chat.records.phases import Phase
from server.retrieval.passage_filter import PassageFilter
from server.retrieval.retriever import Passage
from server.wire import Sampling, TokenLogprobs


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passage that stood in the prompt."""

    title: str
    text: str
    score: float
    document_id: str
    passage_id: str = ""
    section: str = ""
    url: str = ""

    @classmethod
    def of(cls, passage: Passage) -> Source:
        """A passage as it is stored and goes out."""
        return cls(
            title=passage.title,
            text=passage.text,
            score=passage.score,
            document_id=passage.document_id,
            passage_id=passage.passage_id,
            section=passage.section,
            url=passage.url,
        )


class Citation(msgspec.Struct, frozen=True):
    """Characters [start, end) of a reply, a sentence, that rest on a source; `source` counts from 1."""

    start: int
    end: int
    source: int


MODEL = "model"  # the judge that every policy has


class Judgement(msgspec.Struct, frozen=True):
    """What was thought of one text; `scores` sum to 1 over the model's labels, and are empty for other judges."""

    label: str
    scores: dict[str, float]
    log_probs: dict[str, float]
    blocked: bool
    message: str = ""  # the override message when blocked
    judge: str = MODEL  # which of the policy's judges said so
    caution: bool = False  # the text is answered, with care


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one turn."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dropped_turns: int = 0  # oldest turns that no longer fit the window
    passage_tokens: int = 0


class Feedback(msgspec.Struct, frozen=True):
    """What a reader thought of a reply."""

    rating: Literal["up", "down"]
    text: str = ""


class Turn(msgspec.Struct, frozen=True):
    """One stored exchange. `sources` keep their text, so that a later prompt repeats it to the letter."""

    turn: int  # 1, 2, ...
    user: str
    reply: str
    finish_reason: str
    created_at: float  # seconds since the epoch
    sources: tuple[Source, ...] = ()
    labels: dict[str, str] = {}
    usage: Usage = Usage()
    model: str = ""
    index_version: str = ""
    citations: tuple[Citation, ...] = ()
    follows: int | None = None  # the turn it goes on from, where that is not the one before: those between are replaced
    system: str = ""  # instructions that hold from this turn on
    key: str = ""  # digest of the client's idempotency key
    feedback: Feedback | None = None
    summary: str = ""  # what the turns said that its prompt had no room for, `usage.dropped_turns`; made after it


class Session(msgspec.Struct, frozen=True):
    """A stored conversation, oldest turn first. `created_at` fixes the preamble's date and time."""

    session_id: str
    created_at: float
    turns: tuple[Turn, ...] = ()
    last: int = 0  # the highest number that a turn of it has, replaced ones included

    @property
    def system(self) -> str:
        """The instructions that hold: the newest that a turn was asked with."""
        return next((turn.system for turn in reversed(self.turns) if turn.system), "")

    @property
    def summary(self) -> str:
        """What the turns up to `num_summarised` said, in a few sentences; "" where nobody summed them up."""
        return next((turn.summary for turn in reversed(self.turns) if turn.summary), "")

    @property
    def num_summarised(self) -> int:
        """The newest turn that is in the summary; 0 without one."""
        return next((turn.usage.dropped_turns for turn in reversed(self.turns) if turn.summary), 0)


class SessionSummary(msgspec.Struct, frozen=True):
    """One line of a list of conversations. `place` is where it stands in the list, the newest highest."""

    session_id: str
    title: str  # the beginning of the first question that is left
    created_at: float  # seconds since the epoch, as the next one
    updated_at: float
    num_turns: int  # that it ever had
    place: int


class SearchWish(msgspec.Struct, frozen=True):
    """What a request says of its search.

    Attributes:
        k: passages at most; None: as the settings say.
        required: passages are searched for whatever the question, and without any there is no answer.
        only: which passages may be given.
    """

    k: int | None = None
    required: bool = False
    only: PassageFilter | None = None


class TurnRequest(msgspec.Struct, frozen=True):
    """One question, validated. With `history`, the request brings its own turns and nothing is stored."""

    request_id: str
    text: str
    sampling: Sampling
    caller: str = ""  # as whom it waits in the engine's queue; "": as nobody else
    owner: str = ""  # whose conversation it is; "": whoever's knows its id
    session_id: str | None = None
    retrieval: bool = True
    search: SearchWish = SearchWish()
    deadline_s: float = 55.0
    history: tuple[Turn, ...] | None = None
    system: str = ""
    begun: str = ""  # the reply's first words, which a client has written; the answer goes on behind them
    as_written: bool = False  # the prompt is the text alone: no roles, no history, no passages
    cite: bool = False  # the reply is shown with marks, "[1]", where a sentence rests on a source
    replaces: int | None = None  # the turn whose place it takes: asked again, or asked otherwise
    behind: int | None = None  # the turn it goes on from, though others may have gone on from there
    number: int | None = None  # which turn it must become, where its name has been said already
    key: str = ""  # digest of the client's idempotency key
    clamp: bool = False  # a reply that asks for more tokens than are left gets what is left


class TextPiece(msgspec.Struct, frozen=True):
    """Checked text of a reply, in order, and the tokens that were read and written when it left."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class KeepAlive(msgspec.Struct, frozen=True):
    """Nothing to say yet; a stream writes a comment so that a client that left is noticed."""


class FoundSources(msgspec.Struct, frozen=True):
    """The passages that stand in the prompt; goes before the first text of a stream."""

    sources: tuple[Source, ...]


class TurnResult(msgspec.Struct, frozen=True):
    """The answer. `outputs` is the whole reply, or the override message of a moderated turn."""

    request_id: str
    outputs: str
    session_id: str
    finish_reason: str  # stop | length | moderated_input | moderated_output | deadline | shutdown
    sources: tuple[Source, ...] = ()
    moderation: dict[str, Judgement] = {}
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()
    turn: int = 0
    phases: tuple[Phase, ...] = ()
    citations: tuple[Citation, ...] = ()  # places in `outputs`
    logprobs: tuple[TokenLogprobs, ...] = ()  # of the reply's tokens, where they were asked for; none of withheld text

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by phase, to the millisecond."""
        return {each.name: round(each.seconds, 3) for each in self.phases}


TurnEvent = FoundSources | TextPiece | KeepAlive | TurnResult
