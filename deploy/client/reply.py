"""What the server answers, typed. Fields that a newer server adds are passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Record = TypeVar("Record", "Source", "Verdict", "Usage")


@dataclass(frozen=True)
class Source:
    """A passage that stood in the prompt."""

    title: str
    text: str
    score: float
    document_id: str
    section: str = ""
    url: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the classifier said of the question or of the reply."""

    label: str
    scores: dict[str, float]
    blocked: bool = False


@dataclass(frozen=True)
class Usage:
    """Token counts of the turn."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """One answered turn. `text` is the whole reply, or the override message of a moderated turn."""

    text: str
    session_id: str
    finish_reason: str  # stop | length | moderated_input | moderated_output | deadline | shutdown
    request_id: str = ""
    turn: int = 0
    sources: tuple[Source, ...] = ()
    moderation: Mapping[str, Verdict] = field(default_factory=dict)  # by "input" and "output"
    usage: Usage = Usage()
    warnings: tuple[str, ...] = ()

    @property
    def is_moderated(self) -> bool:
        """Whether `text` is an override message in place of an answer."""
        return self.finish_reason.startswith("moderated")


def read_reply(body: Mapping[str, Any]) -> Reply:
    """The reply in the body of an answer. Raises KeyError or TypeError for another body."""
    return Reply(
        text=body["outputs"],
        session_id=body["session_id"],
        finish_reason=body["finish_reason"],
        request_id=body.get("request_id", ""),
        turn=body.get("turn", 0),
        sources=tuple(_known(Source, source) for source in body.get("sources", ())),
        moderation={role: _known(Verdict, verdict) for role, verdict in body.get("moderation", {}).items()},
        usage=_known(Usage, body.get("usage", {})),
        warnings=tuple(body.get("warnings", ())),
    )


def _known(record: type[Record], given: Mapping[str, Any]) -> Record:
    names = {each.name for each in fields(record)}
    return record(**{name: value for name, value in given.items() if name in names})
