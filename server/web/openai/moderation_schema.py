"""What POST /v1/moderations takes and gives: OpenAI's shape with the policy's labels as categories."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from server.chat.moderation.policy import Role
from server.chat.records.turn_records import Judgement
from server.web.limits.table import MAX_MODERATION_TEXTS, MAX_NAME_CHARS
from server.web.openai.message_schema import Part

_Text = Annotated[str, Meta(min_length=1)]


class ModerationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts to judge. `role`, ours, says by which rule: for what users write, or for what the bot does."""

    input: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[
            list[Annotated[str, Meta(min_length=1)] | Part], Meta(min_length=1, max_length=MAX_MODERATION_TEXTS)
        ]
    )
    model: Annotated[str, Meta(max_length=MAX_NAME_CHARS, description="The policy's name, or empty.")] | None = None
    role: Role = Role.INPUT

    @property
    def texts(self) -> list[str]:
        """The texts in order."""
        if isinstance(self.input, str):
            return [self.input]
        return [each if isinstance(each, str) else each.text for each in self.input]

    @property
    def fields(self) -> list[str]:
        """Where in the request each of the texts stands."""
        if isinstance(self.input, str):
            return ["input"]
        parts = enumerate(self.input)
        return [f"input[{index}]" if isinstance(each, str) else f"input[{index}].text" for index, each in parts]


class ModerationResult(msgspec.Struct, frozen=True):
    """The verdict on one text. `categories` are the policy's labels; of a text that is flagged, the one that was found
    is true, and of any other none is. `label` is what was found either way."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_log_probs: dict[str, float]
    label: str
    message: str  # the override message when flagged, else empty


class ModerationResponse(msgspec.Struct, frozen=True):
    """One verdict a text, in order."""

    id: str
    model: str
    results: tuple[ModerationResult, ...]


def moderation_result(judgement: Judgement) -> ModerationResult:
    """A verdict in OpenAI's words."""
    return ModerationResult(
        flagged=judgement.blocked,
        categories={label: judgement.blocked and label == judgement.label for label in judgement.scores},
        category_scores=judgement.scores,
        category_log_probs=judgement.log_probs,
        label=judgement.label,
        message=judgement.message,
    )
